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
            return [_answered(model, tokenizer, one, max_tokens) for one in questions]
    finally:
        FastLanguageModel.for_training(model, use_gradient_checkpointing=recomputation)


def _answered(
    model: Any, tokenizer: Any, question: dict[str, Any], max_tokens: int
) -> dict[str, Any]:
    prompt = torch.tensor([question["prompt_ids"]], device=model.device)
    stops = question["stop_token_ids"]
    written = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )[0, prompt.shape[1] :].tolist()
    stopped = bool(written) and written[-1] in stops
    return {
        "question_id": question["question_id"],
        "question": question["question"],
        "text": tokenizer.decode(written[:-1] if stopped else written),
        "stopped": stopped,
    }
