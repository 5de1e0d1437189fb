"""A dataset, a training run with curves and a round that was compared, for tests and pictures."""

from math import exp

from sqlalchemy.orm import Session

from db.database import Database
from db.identity import short_hash, text_hash
from db.rounds import create_round, decide_round, move_round
from db.tables import (
    Answer,
    Dataset,
    Generation,
    ModelVersion,
    PromptFormat,
    Question,
    ReasoningVariant,
    Role,
    Sampling,
    Sweep,
    SweepGeneration,
    TrainingRun,
    utc_now,
)
from db.training import SampleRow, add_metrics, add_samples, update_run
from workbench.rounds.spec import parse_round

CONFIG = {
    "dataset": "first-round",
    "base": "smollm2-135m-instruct",
    "preset": "laptop",
    "why": "laptop: there is no GPU, so a 16-bit adapter is trained on the CPU.",
    "settings": {"r": 16, "learning_rate": 0.001},
}
COUNTS = {
    "candidates": 320,
    "not_taken": {"not_judged": 20},
    "taken": {"sources": 300},
    "dropped": {"flagged": 12, "near_duplicate": 8},
    "kept": 280,
    "rows": {"train": 250, "held_out": 30},
    "targets": {"whole": 280},
    "roles": {"assistant": 200, "translator": 80},
    "languages": {"en": 180, "ja": 100},
    "questions": 280,
    "newly_held_out": 4,
    "ratings": 0,
}


def seed_round(store: Database, model_id: int) -> tuple[int, int]:
    """Write a round with all that it made; return its id and the run's."""
    with store.write() as session:
        dataset = Dataset(
            name="first-round",
            kind="sft",
            rules={"name": "first-round", "kind": "sft", "take": {"sources": ["imported"]}},
            counts=COUNTS,
            content_hash=short_hash("first-round"),
            frozen_at=utc_now(),
        )
        session.add(dataset)
        session.flush()
        run_id = _seed_run(session, dataset.id, model_id)
        made = ModelVersion(
            name="round-first",
            kind="adapter",
            digest="sha256:1a2b",
            base_id=model_id,
            state="ready",
        )
        session.add(made)
        session.flush()
        spec = parse_round({"name": "first", "dataset": "first-round"})
        found = create_round(
            session, name="first", config=spec.as_config(), starts_from_id=model_id
        )
        sweep_id = _seed_texts(session, [model_id, made.id])
        move_round(
            session,
            found.id,
            step="ended",
            state="done",
            dataset_id=dataset.id,
            training_run_id=run_id,
            merged_model_version_id=made.id,
            sweep_id=sweep_id,
        )
        decide_round(session, found.id, "keep", "100 % of its outputs are well-formed.")
    return found.id, run_id


def _seed_run(session: Session, dataset_id: int, model_id: int) -> int:
    run = TrainingRun(
        dataset_id=dataset_id,
        base_model_version_id=model_id,
        method="sft",
        config=CONFIG,
        state="done",
        started_at=utc_now(),
        finished_at=utc_now(),
    )
    session.add(run)
    session.flush()
    for step in range(1, 41):
        loss = 0.6 + 2 * exp(-step / 10)
        values = [("loss", step, loss), ("learning_rate", step, 1e-3 * (1 - step / 41))]
        values += [("grad_norm", step, 1 + 1 / step), ("tokens_per_second", step, 800 + step)]
        if step % 10 == 0:
            values.append(("held_out_loss", step, loss + 0.1))
        add_metrics(session, run.id, values)
    told = {"step": 40, "total": 40, "loss": 0.64, "held_out_loss": 0.74}
    update_run(session, run.id, summary=told | {"tokens_per_second": 840, "memory_gib": 2.1})
    text = "You should name the season.\n<|response|>It is winter."
    sample = {"question_id": 1, "question": "When does it snow?", "text": text, "stopped": True}
    add_samples(session, run.id, [SampleRow(step=step, **sample) for step in (20, 40)])  # type: ignore[arg-type]
    return run.id


def _seed_texts(session: Session, model_ids: list[int]) -> int:
    """Write one-pass texts: the first model forgets the tag, the second one never does."""
    sweep = Sweep(
        name="round first",
        purpose="round",
        spec={"one_pass": True, "answers": 0},
        spec_hash=short_hash("round"),
        plan={},
        state="done",
        n_reasoning_slots=0,
        n_answer_slots=0,
    )
    session.add(sweep)
    session.flush()
    tagged = session.query(PromptFormat).filter_by(name="tagged").first()
    role = session.query(Role).first()
    assert tagged is not None
    assert role is not None
    for temperature in (0.0, 0.8):
        sampling = Sampling(
            content_hash=short_hash("round", str(temperature)),
            parameters={"temperature": temperature, "max_tokens": 160},
        )
        session.add(sampling)
        session.flush()
        for question in session.query(Question).limit(8):
            for place, model_id in enumerate(model_ids):
                for i in range(3):
                    reasoning = f"You should think of point {i} of {question.id}."
                    answer = f"The answer goes by point {i}, as asked in {question.id}."
                    tag = "\n<|response|>" if place else " "
                    generation = Generation(
                        slot_key=short_hash(str((question.id, model_id, i, temperature))),
                        kind="whole",
                        ok=True,
                        question_id=question.id,
                        mode="reasoning",
                        prompt_format_id=tagged.id,
                        role_id=role.id,
                        model_version_id=model_id,
                        sampling_id=sampling.id,
                        replicate=i,
                        text=f"{reasoning}{tag}{answer}",
                        finish_reason="stop",
                        completion_tokens=30 + i,
                    )
                    session.add(generation)
                    session.flush()
                    session.add(
                        SweepGeneration(
                            sweep_id=sweep.id, generation_id=generation.id, made_here=True
                        )
                    )
                    variant = ReasoningVariant(
                        question_id=question.id,
                        text=reasoning,
                        source="model",
                        generation_id=generation.id,
                        content_hash=text_hash(reasoning),
                    )
                    session.add(variant)
                    session.flush()
                    if place:
                        session.add(
                            Answer(
                                question_id=question.id,
                                variant_id=variant.id,
                                text=answer,
                                source="model",
                                generation_id=generation.id,
                                content_hash=text_hash(answer),
                            )
                        )
    return sweep.id
