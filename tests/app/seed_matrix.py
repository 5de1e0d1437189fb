"""A sweep to read as a matrix: twelve sums and facts, two roles, two temperatures, two models."""

# ruff: noqa: E501  # texts are read best on one line

import random

from sqlalchemy.orm import Session

from db.database import Database
from db.identity import question_hash, short_hash, text_hash
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater
from db.search import index_texts
from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    ModelVersion,
    Question,
    ReasoningVariant,
    Sampling,
    Sweep,
    SweepGeneration,
)
from serving.correctness.store import grade_answers
from serving.formats.library import load_definitions, sync_definitions

QUESTIONS = (
    ("A baker sells 24 rolls in the morning and half as many in the afternoon. How many in all?", "36", "number"),
    ("A ticket costs 12 euros; children pay a third less. What do two adults and three children pay?", "48", "number"),
    ("The river rose 18 cm a day for five days, then fell by 24 cm. How much higher is it now?", "66", "number"),
    ("１箱に９個入りの卵が８箱あります。１４個使うと、何個残りますか。", "58", "number"),
    ("Which planet is closest to the sun? (A) Venus (B) Mercury (C) Mars (D) Earth", "B", "option"),
    ("What is the capital of Australia?", "Canberra", "contains"),
    ("A train leaves at 9:40 and arrives at 12:15. How many minutes does it travel?", "155", "number"),
    ("Solve x² − 5x + 6 = 0. Give the larger solution.", "3", "number"),
    ("Which gas do plants take in for photosynthesis?", "carbon dioxide", "contains"),
    ("日本で一番高い山は何ですか。", "富士山", "contains"),
    ("What is 15 percent of 240?", "36", "number"),
    ("Why do leaves change colour in autumn?", None, None),
)  # fmt: skip
REASONINGS = (
    "You should name what is given and what is asked for before you calculate anything.",
    "You should work step by step and check the result against the size one would expect.",
    "You should say the rule first, then apply it to the numbers of the question.",
)
WRONG = {"number": ("30", "41", "60"), "option": ("A", "D"), "contains": ("I am not sure.",)}
K = 4
"""Reasonings of each question and level, with one answer each."""


def seed_matrix(database: Database) -> int:
    """Write the sweep with grades and some ratings; return its id."""
    lot = random.Random(5)
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        models = [
            ModelVersion(name=name, kind="declared", context_length=4096, precision="bf16")
            for name in ("base-14b", "round-2")
        ]
        samplings = [
            Sampling(content_hash=f"matrix{one}", parameters={"temperature": one, "top_p": 0.95, "max_tokens": 160})
            for one in (0.2, 1.0)
        ]  # fmt: skip
        sweep = _sweep()
        session.add_all([*models, *samplings, sweep])
        session.flush()
        roles = [registry.roles[f"{name}@1"].id for name in ("assistant", "logician")]
        form = registry.formats["chat@1"].id
        ids = [_question(session, *one) for one in QUESTIONS]
        sweep.plan = {**sweep.plan, "question_ids": ids}
        answers = []
        for place, question_id in enumerate(ids):
            for m, model in enumerate(models):
                for r, role in enumerate(roles):
                    for s, sampling in enumerate(samplings):
                        chance = 0.45 + 0.2 * m + 0.15 * r - 0.12 * s
                        level = {
                            "role_id": role,
                            "prompt_format_id": form,
                            "model_version_id": model.id,
                            "sampling_id": sampling.id,
                        }
                        answers += _texts(session, sweep.id, question_id, place, level, chance, lot)
        rater = ensure_rater(session, "Aki")
        add_ratings(session, [_rating(rater, *one, lot) for one in answers if lot.random() < 0.4])
    grade_answers(database, ids)
    return sweep.id


def _sweep() -> Sweep:
    return Sweep(
        name="Roles and temperatures",
        spec={"name": "Roles and temperatures", "variants": K, "answers": 1},
        spec_hash=short_hash("matrix"),
        plan={
            "question_ids": [],
            "formats": {"reasoning": [1]},
            "roles": {"assistant": [1], "logician": [4]},
            "questions_by_role": {},
            "answerable_by_role": {},
            "model_ids": [1, 2],
            "answer_model_ids": None,
            "reasoning_sampling": [{}],
            "answer_sampling": [{}],
            "variants": K,
            "answers": 1,
            "chosen": {},
            "chosen_by_role": {},
        },
        state="done",
        n_reasoning_slots=12 * 8 * K,
        n_answer_slots=12 * 8 * K,
        active_s=42.0,
    )


def _question(session: Session, text: str, reference: str | None, check: str | None) -> int:
    question = Question(
        content_hash=question_hash(text),
        text=text,
        reference_answer=reference,
        answer_check=check,
        language="en" if text[:3].isascii() else "ja",
        source="imported",
    )
    session.add(question)
    session.flush()
    index_texts(session, "question", [(question.id, text)])
    return question.id


def _texts(
    session: Session,
    sweep_id: int,
    question_id: int,
    place: int,
    level: dict[str, int],
    chance: float,
    lot: random.Random,
) -> list[tuple[int, int, int]]:
    _, reference, check = QUESTIONS[place]
    found = []
    for i in range(K):
        made = []
        for kind in ("reasoning", "answer"):
            generation = Generation(
                slot_key=short_hash(str((question_id, kind, i, *level.values()))),
                kind=kind,
                ok=True,
                question_id=question_id,
                mode="reasoning",
                replicate=i,
                text=kind,
                finish_reason="stop",
                completion_tokens=lot.randrange(20, 90),
                **level,
            )
            session.add(generation)
            session.flush()
            session.add(
                SweepGeneration(sweep_id=sweep_id, generation_id=generation.id, made_here=True)
            )
            made.append(generation.id)
        reasoning = REASONINGS[lot.randrange(3)]
        variant = ReasoningVariant(
            question_id=question_id,
            text=reasoning,
            source="model",
            generation_id=made[0],
            content_hash=text_hash(reasoning),
        )
        session.add(variant)
        session.flush()
        text = _answer(reference, check, lot.random() < chance, lot)
        answer = Answer(
            question_id=question_id,
            variant_id=variant.id,
            text=text,
            source="model",
            generation_id=made[1],
            content_hash=text_hash(text),
        )
        session.add(answer)
        session.flush()
        if lot.random() < 0.08:
            session.add(CheckFlag(variant_id=variant.id, name="answer_leak", detail=reference))
        found.append((question_id, variant.id, answer.id))
    return found


def _answer(reference: str | None, check: str | None, right: bool, lot: random.Random) -> str:
    if reference is None or check is None:
        said = (
            "The green pigment breaks down, and the yellow one shows.",
            "Because days grow shorter and colder.",
        )
        return said[lot.randrange(2)]  # fmt: skip
    value = reference if right else lot.choice(WRONG[check])
    if value == "I am not sure.":
        return value
    return lot.choice((f"The answer is {value}.", f"Step by step one gets {value}.", f"It is {value}."))  # fmt: skip


def _rating(
    rater: int, question_id: int, variant_id: int, answer_id: int, lot: random.Random
) -> NewRating:
    return NewRating(
        rater_id=rater,
        scope="reasoning",
        target=Target(question_id=question_id, variant_id=variant_id),
        axis="helpful_hint",
        value=float(lot.randrange(2, 6)),
        blind=True,
        card_id=f"seed-{variant_id}",
    )
