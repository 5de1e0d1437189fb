"""Rows for tests of the store: the least that questions, generations and texts need."""

from concurrent.futures import wait
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import counts
from db.identity import question_hash, short_hash, text_hash
from db.search import index_texts
from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    ModelVersion,
    Prompt,
    PromptFormat,
    Question,
    ReasoningVariant,
    Role,
    Sampling,
    Sweep,
    SweepGeneration,
)

SAMPLING = {"temperature": 0.8, "top_p": 0.95, "top_k": 0, "max_tokens": 64}


def make_library(session: Session) -> None:
    """Write one model, format, role and sampling set, each with id 1, and a second model."""
    session.add(ModelVersion(name="small", kind="base", digest="sha256:1"))
    session.flush()
    session.add(ModelVersion(name="tuned", kind="merged", digest="sha256:2", base_id=1))
    session.add(PromptFormat(name="tagged", version=1, definition={}, definition_hash="f"))
    session.add(Role(name="assistant", version=1, system="Answer.", definition_hash="a"))
    session.add(Role(name="creator", version=1, system="Invent.", definition_hash="c"))
    session.add(Sampling(content_hash="s", parameters=SAMPLING))
    session.flush()


def make_question(session: Session, text: str = "Why is the sky blue?", **values: Any) -> int:
    question = Question(content_hash=question_hash(text), text=text, **values)
    session.add(question)
    session.flush()
    index_texts(session, "question", [(question.id, text)])
    return question.id


def make_sweep(session: Session, name: str = "first") -> int:
    sweep = Sweep(name=name, spec={}, spec_hash="h", plan={}, n_reasoning_slots=1, n_answer_slots=1)
    session.add(sweep)
    session.flush()
    return sweep.id


def make_generation(session: Session, question_id: int, **values: Any) -> Generation:
    """Write a good reasoning generation; ``error`` makes it a failed one, ``sweep_id`` links it."""
    sweep_id = values.pop("sweep_id", None)
    count = len(session.scalars(select(Generation.id)).all())
    given: dict[str, Any] = {
        "slot_key": short_hash(str(count)),
        "kind": "reasoning",
        "ok": "error" not in values,
        "mode": "reasoning",
        "prompt_format_id": 1,
        "role_id": 1,
        "model_version_id": 1,
        "sampling_id": 1,
        "replicate": 0,
        "finish_reason": "stop",
        "completion_tokens": 10,
        "text": None if "error" in values else "raw",
    }
    generation = Generation(question_id=question_id, **given | values)
    session.add(generation)
    session.flush()
    if sweep_id is not None:
        session.add(SweepGeneration(sweep_id=sweep_id, generation_id=generation.id, made_here=True))
    return generation


def make_variant(session: Session, question_id: int, text: str, /, **values: Any) -> int:
    """Write a reasoning by the model; ``source`` makes it one of a person."""
    source = values.pop("source", "model")
    flags = values.pop("flags", ())
    generation = make_generation(session, question_id, **values) if source == "model" else None
    variant = ReasoningVariant(
        question_id=question_id,
        text=text,
        source=source,
        generation_id=generation.id if generation else None,
        content_hash=text_hash(text),
    )
    session.add(variant)
    session.flush()
    session.add_all(CheckFlag(variant_id=variant.id, name=flag, detail="found") for flag in flags)
    index_texts(session, "variant", [(variant.id, text)])
    return variant.id


def make_answer(
    session: Session, question_id: int, variant_id: int | None, text: str, /, **values: Any
) -> int:
    """Write an answer by the model, under a reasoning or under none."""
    source = values.pop("source", "model")
    flags = values.pop("flags", ())
    values = {"kind": "answer", "variant_id": variant_id} | values
    generation = make_generation(session, question_id, **values) if source == "model" else None
    answer = Answer(
        question_id=question_id,
        variant_id=variant_id,
        text=text,
        source=source,
        generation_id=generation.id if generation else None,
        content_hash=text_hash(text),
    )
    session.add(answer)
    session.flush()
    session.add_all(CheckFlag(answer_id=answer.id, name=flag) for flag in flags)
    index_texts(session, "answer", [(answer.id, text)])
    return answer.id


def make_prompt(session: Session, text: str, token_ids: bytes | None) -> int:
    prompt = Prompt(content_hash=short_hash(text), text=text, token_ids=token_ids)
    session.add(prompt)
    session.flush()
    return prompt.id


def wait_for_counts() -> None:
    """Wait until everything that is counted or computed in the background has come."""
    wait([running for _, running in counts._running.values()])
