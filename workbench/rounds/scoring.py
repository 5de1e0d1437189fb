"""What a comparison needs of the engine beside the texts: influence in bits, and held-out loss.

The cost is bounded, whatever the round: for each model and format at most 24 questions times 4
reasonings times 4 answers, and 200 held-out rows. What is stored is never scored again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.jobs import OnProgress
from db.messages import Message
from db.rounds import RoundRow
from db.sweeps import sweep_plan
from db.tables import Generation, ModelVersion, SweepGeneration
from serving.engine.client import Engines
from serving.scoring.answers import run_scoring
from serving.scoring.pairs import read_groups, scores_of
from serving.scoring.spec import ScoreSpec
from training.datasets.held_out_loss import read_losses, score_held_out
from workbench.rounds.completions import ByQuestion
from workbench.stats.influence import bits_by_question, by_level, scored_questions

MOST_QUESTIONS = 24
"""Whose reasonings are scored: spread evenly over those that were asked."""
MOST_REASONINGS = 4
INFLUENCE = "influence"
LOSS = "held_out_loss"


class ScoringDone(NamedTuple):
    """How the scoring of a round ended."""

    unable: tuple[str, ...]
    """Why figures are missing, one sentence each."""
    cancelled: bool


async def score_round(
    database: Database,
    found: RoundRow,
    engines: Engines,
    *,
    on_progress: OnProgress,
    cancelled: asyncio.Event,
) -> ScoringDone:
    """Have the texts of a round and its held-out rows scored; call it again to go on.

    Raises:
        EngineUnavailable: A server cannot be had, or was lost again and again.
    """
    with database.read() as session:
        spec = influence_spec(session, found)
        asked = _asked(session, found)
    unable: list[str] = []
    if spec is not None:
        scored = await run_scoring(
            database,
            spec,
            engines,
            on_progress=_saying("Scoring how far reasonings move answers: {what}.", on_progress),
            cancelled=cancelled,
        )
        unable += scored.unable
        if scored.cancelled:
            return ScoringDone((), True)
    for format_id in asked.formats if found.dataset_id is not None else ():
        assert found.dataset_id is not None
        losses = await score_held_out(
            database,
            found.dataset_id,
            format_id,
            asked.models,
            engines,
            on_progress=_saying("Scoring held-out rows: {what}.", on_progress),
            cancelled=cancelled,
        )
        unable += losses.unable
        if losses.cancelled:
            return ScoringDone((), True)
    return ScoringDone(tuple(dict.fromkeys(unable)), False)


def _saying(template: str, on_progress: OnProgress) -> OnProgress:
    return lambda done, total, message: on_progress(done, total, Message(template, what=message))


def influence_spec(session: Session, found: RoundRow) -> ScoreSpec | None:
    """Return which answers of a round's sweep are scored; None where it asked nothing."""
    if found.sweep_id is None:
        return None
    asked = sorted(sweep_plan(session, found.sweep_id).get("question_ids", ()))
    asked = asked or list(_asked(session, found).questions)
    if not asked:
        return None
    step = max(1.0, len(asked) / MOST_QUESTIONS)
    chosen = dict.fromkeys(asked[int(i * step)] for i in range(min(MOST_QUESTIONS, len(asked))))
    return ScoreSpec(
        sweep=found.sweep_id,
        questions=tuple(chosen),
        most_questions=MOST_QUESTIONS,
        most_reasonings=MOST_REASONINGS,
        most_answers=1,
        controls=False,
        leak=False,
    )


def read_scores(session: Session, found: RoundRow) -> dict[int, dict[str, ByQuestion]]:
    """Return by stored model what its scores say: influence in bits, held-out loss, by question.

    Those of several formats or roles are averaged.
    """
    asked = _asked(session, found)
    values: defaultdict[tuple[int, str], defaultdict[int, list[float]]]
    values = defaultdict(lambda: defaultdict(list))
    stored = {
        row[0]: row[1] or row[0]
        for row in session.execute(select(ModelVersion.id, ModelVersion.stored_id))
    }
    for level in of_one_sampling(_scored_levels(session, found)):
        for question, bits in level.bits.items():
            values[stored[level.model_id], INFLUENCE][question].append(bits)
    for format_id in asked.formats if found.dataset_id is not None else ():
        assert found.dataset_id is not None
        losses = read_losses(session, found.dataset_id, format_id, asked.models)
        for model, by_question in losses.items():
            for question, loss in by_question.items():
                values[stored[model], LOSS][question].append(loss)
    measured: defaultdict[int, dict[str, ByQuestion]] = defaultdict(dict)
    for (model, measure), own in values.items():
        measured[model][measure] = {one: sum(each) / len(each) for one, each in own.items()}
    return measured


class ScoredLevel(NamedTuple):
    """The bits of each question of one model, role and prompt format, at one sampling."""

    model_id: int
    sampling_id: int | None
    bits: ByQuestion


def of_one_sampling(levels: Sequence[ScoredLevel]) -> list[ScoredLevel]:
    """Return the levels of one set of sampling parameters.

    Bits of answers that were drawn differently say different things, of one model and of two. The
    set that most models share is taken, then the one with the most questions.
    """
    by_sampling: defaultdict[int | None, list[ScoredLevel]] = defaultdict(list)
    for level in levels:
        by_sampling[level.sampling_id].append(level)

    def coverage(own: list[ScoredLevel]) -> tuple[int, int]:
        return len({one.model_id for one in own}), sum(len(one.bits) for one in own)

    return max(by_sampling.values(), key=coverage, default=[])


def _scored_levels(session: Session, found: RoundRow) -> list[ScoredLevel]:
    spec = influence_spec(session, found)
    groups = [] if spec is None else read_groups(session, spec)
    known, levels = scores_of(session, groups), []
    for own in by_level(groups):
        scored = scored_questions((one for one in own if len(one.reasonings) > 1), known)
        if scored:
            bits = map(float, bits_by_question(list(scored.values())))
            by_question = dict(zip(scored, bits, strict=True))
            levels.append(ScoredLevel(own[0].model_id, own[0].sampling_id, by_question))
    return levels


class _Asked(NamedTuple):
    """What a sweep asked, and of whom."""

    models: tuple[int, ...]
    formats: tuple[int, ...]
    questions: tuple[int, ...]


def _asked(session: Session, found: RoundRow) -> _Asked:
    rows = session.execute(
        select(Generation.model_version_id, Generation.prompt_format_id, Generation.question_id)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == found.sweep_id, Generation.kind == "whole")
        .distinct()
    ).all()
    models = tuple(sorted({row[0] for row in rows}))
    return _Asked(
        models=models,
        formats=tuple(sorted({row[1] for row in rows})),
        questions=tuple(sorted({row[2] for row in rows})),
    )
