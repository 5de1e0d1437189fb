"""A filled store for tests and screenshots, written straight through the tables."""

import contextlib
import copy
import random
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db.database import Database
from db.identity import json_hash, question_hash, short_hash, text_hash
from db.messages import Message
from db.search import index_texts
from db.tables import (
    ROLES,
    Answer,
    CheckFlag,
    Engine,
    EngineModel,
    Generation,
    Job,
    ModelVersion,
    Prompt,
    Question,
    QuestionTag,
    ReasoningVariant,
    Sampling,
    Sweep,
    SweepGeneration,
    Tag,
    utc_now,
)
from serving.formats.library import load_definitions, sync_definitions
from tests.app.texts import QUESTIONS, SeedQuestion


@dataclass
class Seeded:
    """Ids of what was written."""

    question_ids: list[int]
    sweep_id: int
    model_id: int
    engine_id: int
    variant_ids: list[int]
    answer_ids: list[int]


def seed_engine(session: Session, *, state: str = "ready", **values: Any) -> tuple[int, int]:
    """Write the embedded model and the workbench's own engine; return both ids."""
    model = ModelVersion(
        name="smollm2-135m-instruct",
        kind="base",
        digest="sha256:5f2c9be0a4d1",
        architecture="LlamaForCausalLM",
        n_parameters=134_515_008,
        size_bytes=269_060_552,
        context_length=8192,
        stop_token_ids=[2],
    )
    engine = Engine(name="local", kind="child", state=state, **values)
    session.add_all([model, engine])
    session.flush()
    if state == "ready":
        engine.software = "vllm 0.32.0"
        session.add(EngineModel(engine_id=engine.id, model_version_id=model.id, served_name="base"))
    return model.id, engine.id


_written: dict[tuple[str, int], tuple[sqlite3.Connection, Seeded]] = {}
"""What was written into an empty store, by its options, to be copied into others."""


def seed_store(database: Database, *, state: str = "done", copies: int = 1) -> Seeded:
    """Write questions, an engine, and one sweep with its texts and findings."""
    with database.read() as session:
        is_empty = session.scalar(select(ModelVersion.id).limit(1)) is None
    if database.path is None or not is_empty:
        return _write_store(database, state, copies)
    with contextlib.closing(sqlite3.connect(database.path)) as own:
        if (state, copies) not in _written:
            seeded = _write_store(database, state, copies)
            copied = sqlite3.connect(":memory:", check_same_thread=False)
            own.backup(copied)
            _written[state, copies] = copied, seeded
        else:
            _written[state, copies][0].backup(own)
    return copy.deepcopy(_written[state, copies][1])


def _write_store(database: Database, state: str, copies: int) -> Seeded:
    with database.write() as session:
        model_id, engine_id = seed_engine(session)
        writer = _Writer(session, model_id, engine_id, state, copies)
        for number in range(copies):
            for question in QUESTIONS:
                writer.question(question, number)
        writer.finish()
        return writer.seeded


class _Writer:
    def __init__(
        self, session: Session, model_id: int, engine_id: int, state: str, copies: int
    ) -> None:
        self.session, self.engine_id = session, engine_id
        self.random = random.Random(7)
        registry = sync_definitions(session, load_definitions())
        self.format_id = registry.format("chat").id
        self.role_ids = {name: registry.role(name).id for name in ROLES}
        parameters = {"temperature": 0.8, "top_p": 0.95, "max_tokens": 256, "seed": None}
        self.sampling = Sampling(content_hash=json_hash(parameters), parameters=parameters)
        started = utc_now() - timedelta(minutes=14)
        self.sweep = Sweep(
            name="First look: two temperatures",
            spec={"name": "First look: two temperatures", "variants": 3, "answers": 2},
            spec_hash=short_hash("spec"),
            plan={},
            state=state,
            n_reasoning_slots=sum(len(q.variants) for q in QUESTIONS) * copies,
            n_answer_slots=sum(len(v.answers) for q in QUESTIONS for v in q.variants) * copies,
            started_at=started,
            finished_at=started + timedelta(minutes=6) if state == "done" else None,
            active_s=372.0,
        )
        session.add_all([self.sampling, self.sweep])
        session.flush()
        self.tags: dict[str, Tag] = {}
        self.seeded = Seeded([], self.sweep.id, model_id, engine_id, [], [])

    def question(self, seed: SeedQuestion, copy: int) -> None:
        text = seed.text if copy == 0 else f"{seed.text} ({copy + 1})"
        question = Question(
            content_hash=question_hash(text, seed.context, seed.role),
            text=text,
            context=seed.context,
            reference_answer=seed.reference,
            role=seed.role,
            category=seed.category,
            language=seed.language,
            source="example",
        )
        self.session.add(question)
        self.session.flush()
        for name in seed.tags:
            tag = self.tags.setdefault(name, Tag(name=name))
            self.session.add(tag)
            self.session.flush()
            self.session.add(QuestionTag(question_id=question.id, tag_id=tag.id))
        self.seeded.question_ids.append(question.id)
        index_texts(self.session, "question", [(question.id, f"{text} {seed.context}")])
        for i, variant in enumerate(seed.variants):
            self._variant(question, seed, i, variant.text, variant.flags, variant.answers)

    def _variant(
        self,
        question: Question,
        seed: SeedQuestion,
        i: int,
        text: str,
        flags: dict[str, str],
        answers: tuple[tuple[str, dict[str, str]], ...],
    ) -> None:
        made = self._generation(question, "reasoning", text, i, None, "cut_off" in flags)
        variant = ReasoningVariant(
            question_id=question.id,
            text=text,
            source="model",
            generation_id=made.id,
            content_hash=text_hash(text),
        )
        self.session.add(variant)
        self.session.flush()
        self.seeded.variant_ids.append(variant.id)
        index_texts(self.session, "variant", [(variant.id, text)])
        self._flags(flags, variant_id=variant.id)
        for j, (answer_text, answer_flags) in enumerate(answers):
            made = self._generation(
                question, "answer", answer_text, j, variant.id, "cut_off" in answer_flags
            )
            answer = Answer(
                question_id=question.id,
                variant_id=variant.id,
                text=answer_text,
                source="model",
                generation_id=made.id,
                content_hash=text_hash(answer_text),
            )
            self.session.add(answer)
            self.session.flush()
            self.seeded.answer_ids.append(answer.id)
            index_texts(self.session, "answer", [(answer.id, answer_text)])
            self._flags(answer_flags, answer_id=answer.id)

    def _flags(self, flags: dict[str, str], **target: int) -> None:
        self.session.add_all(
            CheckFlag(name=name, detail=detail or None, **target) for name, detail in flags.items()
        )

    def _generation(
        self,
        question: Question,
        kind: str,
        text: str,
        replicate: int,
        variant_id: int | None,
        cut: bool,
    ) -> Generation:
        prompt_text = (
            f"<|im_start|>system\nYou are a careful {question.role}.<|im_end|>\n"
            f"<|im_start|>user\n{question.text}<|im_end|>\n<|im_start|>assistant\n"
        )
        ids = [1, *(self.random.randrange(3, 49_000) for _ in range(len(prompt_text) // 4))]
        hashed = short_hash(prompt_text, kind, str(variant_id), str(replicate))
        prompt = Prompt(
            content_hash=hashed,
            text=prompt_text,
            token_ids=np.array(ids, dtype="<u4").tobytes(),
            n_tokens=len(ids),
        )
        self.session.add(prompt)
        self.session.flush()
        made = Generation(
            slot_key=short_hash("slot", hashed),
            kind=kind,
            ok=True,
            question_id=question.id,
            variant_id=variant_id,
            mode="reasoning",
            prompt_format_id=self.format_id,
            role_id=self.role_ids[question.role],
            model_version_id=self.seeded.model_id,
            engine_id=self.engine_id,
            sampling_id=self.sampling.id,
            prompt_id=prompt.id,
            replicate=replicate,
            request_id=f"q2q-{hashed[:12]}",
            choice_index=replicate,
            text=text,
            finish_reason="length" if cut else "stop",
            prompt_tokens=len(ids),
            completion_tokens=max(1, len(text.encode()) // 4),
            latency_ms=900.0 + 40 * self.random.random() * len(text) / 10,
            engine_version="vllm 0.32.0",
        )
        self.session.add(made)
        self.session.flush()
        self.session.add(
            SweepGeneration(sweep_id=self.sweep.id, generation_id=made.id, made_here=True)
        )
        return made

    def finish(self) -> None:
        ids = self.seeded.question_ids
        self.sweep.plan = {
            "question_ids": ids,
            "formats": {"reasoning": [self.format_id]},
            "roles": {name: [role_id] for name, role_id in self.role_ids.items()},
            "questions_by_role": {},
            "answerable_by_role": {},
            "model_ids": [self.seeded.model_id],
            "answer_model_ids": None,
            "reasoning_sampling": [{}],
            "answer_sampling": [{}],
            "variants": 3,
            "answers": 2,
            "chosen": {},
            "chosen_by_role": {},
        }


def seed_running_job(database: Database, sweep_id: int, *, total: int = 150) -> int:
    """Write a job that has done what the sweep holds, of ``total`` texts."""
    with database.write() as session:
        now = utc_now()
        sweep = session.get_one(Sweep, sweep_id)
        sweep.state, sweep.finished_at = "running", None
        sweep.n_answer_slots = total - sweep.n_reasoning_slots
        done = session.scalar(select(func.count()).where(SweepGeneration.sweep_id == sweep_id)) or 0
        job = Job(
            kind="sweep",
            lane="server",
            sweep_id=sweep_id,
            state="running",
            done=done,
            total=total,
            message=Message.line(["running", "24 tokens/s", "2 min left"]),
            owner="test",
            heartbeat_at=now,
            started_at=now - timedelta(seconds=95),
            starts=1,
        )
        session.add(job)
        session.flush()
        return job.id


def seed_failures(database: Database, seeded: Seeded, n: int = 2) -> None:
    """Write failed generations into the sweep."""
    with database.write() as session:
        for i in range(n):
            made = Generation(
                slot_key=short_hash("failed", str(i)),
                kind="reasoning",
                ok=False,
                question_id=seeded.question_ids[i],
                mode="reasoning",
                prompt_format_id=1,
                role_id=1,
                model_version_id=seeded.model_id,
                sampling_id=1,
                replicate=9,
                error="The server closed the connection; retry the failed texts.",
            )
            session.add(made)
            session.flush()
            session.add(
                SweepGeneration(sweep_id=seeded.sweep_id, generation_id=made.id, made_here=True)
            )


def seed_bulk(database: Database, seeded: Seeded, n: int) -> None:
    """Write ``n`` more generations with their answers into the sweep, in bulk."""
    with database.write() as session:
        first = 1_000_000
        ids = range(first, first + n)
        n_questions = len(seeded.question_ids)

        def question_of(i: int) -> int:
            return seeded.question_ids[i % n_questions]

        session.execute(
            insert(Generation),
            [
                {
                    "id": i,
                    "slot_key": short_hash("bulk", str(i)),
                    "attempt": 1,
                    "kind": "answer",
                    "ok": True,
                    "question_id": question_of(i),
                    "mode": "reasoning",
                    "prompt_format_id": 1,
                    "role_id": 1,
                    "model_version_id": seeded.model_id,
                    "sampling_id": 1,
                    "replicate": i % 7,
                    "text": f"Answer number {i}.",
                    "finish_reason": "stop" if i % 9 else "length",
                    "prompt_tokens": 40,
                    "completion_tokens": 5 + i % 200,
                    "latency_ms": 800.0,
                }
                for i in ids
            ],
        )
        session.execute(
            insert(SweepGeneration),
            [{"sweep_id": seeded.sweep_id, "generation_id": i, "made_here": True} for i in ids],
        )
        session.execute(
            insert(Answer),
            [
                {
                    "id": i,
                    "question_id": question_of(i),
                    "variant_id": seeded.variant_ids[i % len(seeded.variant_ids)],
                    "text": f"Answer number {i}.",
                    "source": "model",
                    "generation_id": i,
                    "content_hash": short_hash("a", str(i)),
                }
                for i in ids
            ],
        )
        session.execute(
            insert(CheckFlag),
            [{"answer_id": i, "name": "cut_off", "detail": None} for i in ids if i % 9 == 0],
        )
        index_texts(session, "answer", [(i, f"Answer number {i}.") for i in ids])
