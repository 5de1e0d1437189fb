"""Texts of the model in training, for fixed held-out questions; greedy, so that steps compare."""

from typing import Any

import torch
from unsloth import FastLanguageModel

from training.runs.folder import RunFolder, read_rows


def write_samples(
    model: Any, tokenizer: Any, folder: RunFolder, max_tokens: int, *, recomputation: Any
) -> list[dict[str, Any]]:
    """Return what the model writes now; the model is in training mode again afterwards."""
    questions = list(read_rows(folder.questions))
    if not questions:
        return []
    FastLanguageModel.for_inference(model)
    try:
        with torch.no_grad():
            return _answered(model, tokenizer, questions, max_tokens)
    finally:
        FastLanguageModel.for_training(model, use_gradient_checkpointing=recomputation)


def _answered(
    model: Any, tokenizer: Any, questions: list[dict[str, Any]], max_tokens: int
) -> list[dict[str, Any]]:
    """Return the answers to all questions, written side by side."""
    stops = sorted({stop for one in questions for stop in one["stop_token_ids"]})
    longest = max(len(one["prompt_ids"]) for one in questions)
    padding = [longest - len(one["prompt_ids"]) for one in questions]
    prompts = [
        [stops[0]] * n + one["prompt_ids"] for n, one in zip(padding, questions, strict=True)
    ]
    mask = [[0] * n + [1] * (longest - n) for n in padding]
    written = model.generate(
        input_ids=torch.tensor(prompts, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )[:, longest:].tolist()
    return [
        _answer(tokenizer, question, ids) for question, ids in zip(questions, written, strict=True)
    ]


def _answer(tokenizer: Any, question: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    end = next((i for i, one in enumerate(ids) if one in question["stop_token_ids"]), None)
    return {
        "question_id": question["question_id"],
        "question": question["question"],
        "text": tokenizer.decode(ids[:end]),
        "stopped": end is not None,
    }
