"""Precisions on the real engine: 16 bit against FP8, held to full logits by transformers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from db.database import Database
from db.sweeps import get_sweep
from db.tables import Generation, ModelVersion
from db.texts.inputs import question_texts
from serving.formats.definitions import Completion
from serving.formats.library import load_definitions, sync_definitions
from serving.formats.render import IGNORED_LABEL, render_example
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.expand import load_templates, prompt_fields
from workbench.precision.divergence import divergence
from workbench.precision.texts import AnswerText, answers_of

pytestmark = [pytest.mark.engine, pytest.mark.soak]  # it starts two servers of its own

ROOT = Path(__file__).parents[2]
N_QUESTIONS = 6
LARGEST_E4M3 = 448.0


def run(*arguments: str) -> Any:
    """Run a command and return the JSON that it printed."""
    limits = {"Q2Q_KV_CACHE_GIB": "1", "Q2Q_MAX_MODEL_LEN": "1024", "Q2Q_MAX_NUM_SEQS": "16"}
    ended = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", *arguments, "--json"],
        cwd=ROOT,
        env=os.environ | limits | {"Q2Q_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_fp8_is_a_version_of_its_own_and_as_far_from_16_bit_as_full_logits_say(
    embedded_model: Path, database: Database, home: Path
) -> None:
    run("question", "import", "examples/questions/english.jsonl")
    asked = ("--precisions", "bf16,fp8", "--questions", str(N_QUESTIONS), "--max-tokens", "48")
    (found,) = run("model", "compare-precision", "default", *asked)["comparisons"]
    assert (found["model"], found["precision"]) == ("smollm2-135m-instruct@fp8", "fp8")
    assert found["n_questions"] == N_QUESTIONS
    with database.read() as session:
        reference, quantised = (get_sweep(session, one) for one in found["sweeps"])
        assert (reference.done, quantised.done) == (2 * N_QUESTIONS, N_QUESTIONS)
        wrote = set(session.scalars(select(Generation.model_version_id)))
        texts = answers_of(session, reference.sweep_id, 1.0)
        digests = dict(session.execute(select(ModelVersion.id, ModelVersion.digest)).all())
    assert len(wrote) == 2
    assert sorted(digests[one].count(":") for one in wrote) == [1, 2]
    exact, bound = full_logits(database, embedded_model, list(texts.values()))
    kl = found["kl"]
    assert kl["low"] < kl["value"] < kl["high"]
    # The rarest tokens are the noisiest: the bound loses a few times their share of probability.
    assert bound <= exact <= bound / (1 - 4 * found["rest"])
    # The engine's kernels are not PyTorch's.
    assert kl["value"] == pytest.approx(bound, rel=0.35)
    assert found["same_top"]["value"] > 0.8


def full_logits(database: Database, folder: Path, texts: list[AnswerText]) -> tuple[float, float]:
    """Return the mean divergence over all tokens of the texts, exact and from the 100 likeliest.

    Everything here is PyTorch's: 16-bit weights, and the same with linear layers rounded to FP8
    (a scale for each output), on inputs rounded to FP8 (a scale for each token).
    """
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    tokenizer = PromptTokenizer.load(folder)
    exact, bounds = [], []
    for ids, n_scored in encoded(database, tokenizer, texts):
        p, q = (log_probs(model, ids, n_scored, in_fp8=in_fp8) for in_fp8 in (False, True))
        exact += (
            torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1).tolist()
        )
        places = [[top(place) for place in one.numpy()] for one in (p, q)]
        bounds += divergence(*places).kl.tolist()
    return float(np.mean(exact)), float(np.mean(bounds))


def top(log_probs: np.ndarray) -> dict[int, float]:
    return {int(i): float(log_probs[i]) for i in np.argpartition(-log_probs, 100)[:100]}


def encoded(
    database: Database, tokenizer: PromptTokenizer, texts: list[AnswerText]
) -> Iterator[tuple[list[int], int]]:
    """Yield the tokens of prompt and text, and how many are the text's."""
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        form = registry.format("chat@1")
        templates = load_templates(session)
        questions = {q.id: q for q in question_texts(session, [t.question_id for t in texts])}
        systems = {q.role: templates.systems[registry.role(q.role).id] for q in questions.values()}
    for text in texts:
        question = questions[text.question_id]
        fields = prompt_fields(question, systems[question.role], "vanilla", ())
        answer = Completion(response=text.text)
        example = render_example(form.definition, "vanilla", fields, answer, tokenizer)
        ids = example.token_ids if text.is_ended else example.token_ids[:-1]
        yield list(ids), len(ids) - example.labels.count(IGNORED_LABEL)


def log_probs(model: Any, ids: list[int], n_scored: int, *, in_fp8: bool) -> Any:
    """Return log-probabilities of shape (``n_scored``, vocabulary), in 32 bit."""
    import torch

    with torch.no_grad(), rounded(model) if in_fp8 else unchanged():
        logits = model(torch.tensor([ids])).logits[0].float()
    return torch.log_softmax(logits, -1)[-n_scored - 1 : -1]


@contextmanager
def unchanged() -> Iterator[None]:
    yield


@contextmanager
def rounded(model: Any) -> Iterator[None]:
    """Round weights and inputs of all linear layers but the head within the block."""
    import torch

    def to_fp8(values: torch.Tensor) -> torch.Tensor:
        scale = values.float().abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST_E4M3
        low = (values.float() / scale).to(torch.float8_e4m3fn)
        return (low.float() * scale).to(values.dtype)

    linear = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name
    ]
    before = [module.weight.data for module in linear]
    hooks = [
        module.register_forward_pre_hook(lambda _, given: (to_fp8(given[0]),)) for module in linear
    ]
    for module in linear:
        module.weight.data = to_fp8(module.weight.data)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, weight in zip(linear, before, strict=True):
            module.weight.data = weight
