"""A round that has asked its held-out questions, written straight through the tables."""

from collections.abc import Sequence
from itertools import product

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.identity import question_hash, short_hash, text_hash
from db.rounds import RoundRow, create_round, move_round
from db.tables import (
    Answer,
    Generation,
    ModelVersion,
    PromptFormat,
    Question,
    ReasoningVariant,
    Role,
    Sampling,
    Sweep,
    SweepGeneration,
)
from serving.formats.library import load_definitions, sync_definitions
from workbench.rounds.spec import parse_round

MODELS = ("base", "round-first")
THINGS = ("rivers", "lamps", "bread", "winter", "music", "teeth", "trains", "salt")


def write_round(
    database: Database,
    n_questions: int = 6,
    *,
    models: Sequence[str] = MODELS,
    silent: Sequence[int] = (),
    languages: Sequence[str] = ("en",),
) -> RoundRow:
    """Write a round that starts from the first model and made the last one; return it.

    Args:
        database: A migrated store.
        n_questions: Held-out ones.
        models: Their names.
        silent: Places of questions for which the first model forgets the tag.
        languages: Of the questions, in turn.
    """
    with database.write() as session:
        sync_definitions(session, load_definitions())
        made = [ModelVersion(name=name, kind="declared", context_length=4096) for name in models]
        session.add_all(made)
        session.flush()
        spec = parse_round({"name": "first", "dataset": "rows"})
        found = create_round(
            session, name="first", config=spec.as_config(), starts_from_id=made[0].id
        )
        sweep_id = _sweep(session)
        for place in range(n_questions):
            question_id = _question(session, place, languages[place % len(languages)])
            for at, model in enumerate(made):
                _texts(session, sweep_id, question_id, model, forgets=not at and place in silent)
        return move_round(
            session,
            found.id,
            step="ended",
            state="done",
            sweep_id=sweep_id,
            merged_model_version_id=made[-1].id,
        )


def _sweep(session: Session) -> int:
    for temperature in (0.0, 0.8):
        parameters = {"temperature": temperature, "max_tokens": 160}
        session.add(Sampling(content_hash=f"round{temperature}", parameters=parameters))
    sweep = Sweep(
        name="round first",
        purpose="round",
        spec={"one_pass": True, "answers": 0},
        spec_hash="round",
        plan={},
        state="done",
        n_reasoning_slots=0,
        n_answer_slots=0,
    )
    session.add(sweep)
    session.flush()
    return sweep.id


def _question(session: Session, place: int, language: str) -> int:
    text = f"What should one know about {THINGS[place % 8]} of kind {place}?"
    question = Question(
        text=text, content_hash=question_hash(text), language=language, held_out=True
    )
    session.add(question)
    session.flush()
    return question.id


def _texts(
    session: Session, sweep_id: int, question_id: int, model: ModelVersion, *, forgets: bool
) -> None:
    form = session.scalars(select(PromptFormat).where(PromptFormat.name == "tagged")).one()
    role = session.scalars(select(Role).where(Role.name == "assistant")).one()
    samplings = session.scalars(select(Sampling).where(Sampling.content_hash.like("round%")))
    for sampling, i in product(samplings.all(), range(3)):
        is_greedy = sampling.parameters["temperature"] == 0
        point = f"{model.name} point {0 if is_greedy else i + 1} of {question_id}"
        reasoning, answer = f"You should think of {point}.", f"The answer is {point}."
        tag = " " if forgets else "\n<|response|>"
        generation = Generation(
            slot_key=short_hash(str((question_id, model.id, i, sampling.id))),
            kind="whole",
            ok=True,
            question_id=question_id,
            mode="reasoning",
            prompt_format_id=form.id,
            role_id=role.id,
            model_version_id=model.id,
            sampling_id=sampling.id,
            replicate=i,
            text=f"{reasoning}{tag}{answer}",
            finish_reason="stop",
            completion_tokens=20 + i,
        )
        session.add(generation)
        session.flush()
        session.add(SweepGeneration(sweep_id=sweep_id, generation_id=generation.id, made_here=True))
        variant = ReasoningVariant(
            question_id=question_id,
            text=reasoning,
            source="model",
            generation_id=generation.id,
            content_hash=text_hash(reasoning),
        )
        session.add(variant)
        session.flush()
        if not forgets:
            session.add(
                Answer(
                    question_id=question_id,
                    variant_id=variant.id,
                    text=answer,
                    source="model",
                    generation_id=generation.id,
                    content_hash=text_hash(answer),
                )
            )
