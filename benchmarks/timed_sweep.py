"""A sweep as it is timed: its store, its spec, its run, and what it sent."""

import argparse
import asyncio
import time
from array import array
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from benchmarks.raw_load import Load
from benchmarks.setting import question
from db.database import Database
from db.identity import question_hash, text_hash
from db.tables import (
    Answer,
    Generation,
    ModelVersion,
    Prompt,
    Question,
    ReasoningVariant,
    Sampling,
    SweepGeneration,
)
from serving.formats.library import load_definitions, sync_definitions
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.run import run_sweep
from serving.sweeps.spec import parse_spec
from tests.fakes.engines import FixedEngines

NAME = "model-under-test"
SHARES = (0.5, 0.75, 1.25, 1.5)


@dataclass(frozen=True, slots=True)
class Asked:
    """Prompts, as token ids, that were sent with the same sampling."""

    prompts: list[list[int]]
    parameters: dict[str, Any]


def fill(database: Database, options: argparse.Namespace) -> None:
    """Put questions and the model into the store."""
    with database.write() as session:
        for i in range(options.questions):
            text = question(i)
            session.add(Question(text=text, content_hash=question_hash(text), language="en"))
        length = options.max_model_len  # declared: nothing here asks what its tensors hold
        session.add(ModelVersion(name=NAME, kind="declared", context_length=length))


def spec_of(options: argparse.Namespace, seed: int | None) -> dict[str, Any]:
    """Return the sweep that (a) runs: ``answers`` answers to each question, no reasoning."""
    return {
        "name": "throughput",
        "formats": ["tagged@1"],
        "modes": ["vanilla"],
        "models": [NAME],
        "answers": options.answers,
        "answer_sampling": levels(options),
        "seed": seed,
    }


def sampling(options: argparse.Namespace, share: float = 1.0) -> dict[str, Any]:
    """Return a sampling level whose texts have at most a share of ``max_tokens``."""
    return {"temperature": 0.8, "top_p": 0.95, "max_tokens": int(options.max_tokens * share)}


def levels(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the levels of all ways: texts of several lengths, as real ones are.

    Random weights never end a text by themselves; without this all would end at one moment.
    """
    return [sampling(options, share) for share in SHARES]


async def sweep(
    database: Database, engines: FixedEngines, spec: dict[str, Any], *, priority: int = 0
) -> tuple[Load, int]:
    """Run ``spec`` to its end; return what was measured and the sweep's id."""
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        sweep_id = save_sweep(session, plan_sweep(session, parse_spec(spec), registry))
    started = time.perf_counter()
    outcome = await run_sweep(
        database,
        sweep_id,
        engines,
        on_progress=lambda _: None,
        priority=priority,
    )
    seconds = time.perf_counter() - started
    load = Load(completion_tokens=outcome.completion_tokens, seconds=seconds, failed=outcome.failed)
    return load, sweep_id


def sent(database: Database, sweep_id: int, kind: str = "answer") -> list[Asked]:
    """Return what the sweep sent: for each sampling, the token ids of its prompts."""
    with database.read() as session:
        rows = session.execute(
            select(Sampling.id, Sampling.parameters, Prompt.token_ids)
            .join(Generation, Generation.sampling_id == Sampling.id)
            .join(Prompt, Prompt.id == Generation.prompt_id)
            .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
            .where(SweepGeneration.sweep_id == sweep_id, Generation.kind == kind)
            .group_by(Sampling.id, Prompt.id)
        ).all()
    asked: dict[int, Asked] = {}
    for sampling_id, parameters, token_ids in rows:
        level = asked.setdefault(sampling_id, Asked([], parameters))
        level.prompts.append(array("I", token_ids).tolist())
    return list(asked.values())


async def edit_latency(
    database: Database, engines: FixedEngines, options: argparse.Namespace, *, is_idle: bool
) -> dict[str, float]:
    """Return the seconds from an edit to its first and its last stored answer.

    The server has nothing else to do and eight answers of 200 tokens are wanted, or a sweep runs
    beside four answers of the benchmark's own length.
    """
    edit, variant_id = edited(database, options, is_idle=is_idle)
    background = None
    if not is_idle:
        background = asyncio.create_task(sweep(database, engines, spec_of(options, seed=None)))
        await asyncio.sleep(options.settle_s)
    started = time.perf_counter()
    answering = asyncio.create_task(sweep(database, engines, edit, priority=-10))
    first_s = 0.0
    while not first_s:
        await asyncio.sleep(0.02)
        with database.read() as session:
            found = session.scalar(
                select(func.count()).select_from(Answer).where(Answer.variant_id == variant_id)
            )
        if found:
            first_s = time.perf_counter() - started
        elif answering.done():
            await answering
    await answering
    all_s = time.perf_counter() - started
    latency: dict[str, float] = {"first_answer_s": first_s, "all_answers_s": all_s}
    if background is not None:
        latency["sweep_still_ran"] = not background.done()
        background.cancel()
        await asyncio.wait([background])
    return latency


def edited(
    database: Database, options: argparse.Namespace, *, is_idle: bool
) -> tuple[dict[str, Any], int]:
    """Write a reasoning of one's own; return the sweep that answers from it, and its id."""
    with database.write() as session:
        first = session.scalars(select(Question).limit(1)).one()
        text = "You should name what changes first, and then what stays the same."
        variant = ReasoningVariant(
            question_id=first.id, text=text, source="human", content_hash=text_hash(text)
        )
        session.add(variant)
        session.flush()
        variant_id, question_id = variant.id, first.id
    spec = {
        "name": "edit",
        "questions": {"ids": [question_id]},
        "formats": ["tagged@1"],
        "modes": ["supplied"],
        "models": [NAME],
        "answers": 8 if is_idle else 4,
        "answer_sampling": [sampling(options) | ({"max_tokens": 200} if is_idle else {})],
        "reasonings": {"ids": [variant_id]},
    }
    return spec, variant_id
