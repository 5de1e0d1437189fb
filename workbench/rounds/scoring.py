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
from db.models import get_model
from db.rounds import RoundRow
from db.sweeps import sweep_plan
from db.tables import Generation, SweepGeneration
from serving.engine.client import Engines
from serving.scoring.answers import run_scoring
from serving.scoring.spec import ScoreSpec
from training.datasets.held_out_loss import read_losses, score_held_out
from workbench.insights.reasoning import OWN, LevelReport, read_reasoning_report
from workbench.rounds.completions import ByQuestion

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
            on_progress=_saying("Scoring how far reasonings move answers", on_progress),
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
            on_progress=_saying("Scoring held-out rows", on_progress),
            cancelled=cancelled,
        )
        unable += losses.unable
        if losses.cancelled:
            return ScoringDone((), True)
    return ScoringDone(tuple(dict.fromkeys(unable)), False)


def _saying(what: str, on_progress: OnProgress) -> OnProgress:
    return lambda done, total, message: on_progress(done, total, f"{what}: {message}.")


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
    """Return by model what its scores say: influence in bits and held-out loss, by question."""
    asked = _asked(session, found)
    measured: dict[int, dict[str, ByQuestion]] = {model: {} for model in asked.models}
    if (spec := influence_spec(session, found)) is not None:
        _add_influence(session, spec, asked, measured)
    if found.dataset_id is not None:
        _add_losses(session, found.dataset_id, asked, measured)
    return measured


class _Asked(NamedTuple):
    """What a sweep asked, and of whom."""

    models: tuple[int, ...]
    names: dict[str, int]
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
        names={get_model(session, model).name: model for model in models},
        formats=tuple(sorted({row[1] for row in rows})),
        questions=tuple(sorted({row[2] for row in rows})),
    )


def _add_influence(
    session: Session,
    spec: ScoreSpec,
    asked: _Asked,
    measured: dict[int, dict[str, ByQuestion]],
) -> None:
    """Add the bits of each question; those of several formats or roles are averaged."""
    scored: defaultdict[int, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for level in of_one_sampling(read_reasoning_report(session, spec).levels):
        values = level.scores[OWN].by_question
        for question, value in zip(level.question_ids, values, strict=True):
            scored[asked.names[level.model]][question].append(value)
    for model, by_question in scored.items():
        measured[model][INFLUENCE] = _means(by_question)


def of_one_sampling(levels: Sequence[LevelReport]) -> list[LevelReport]:
    """Return the scored levels of one set of sampling parameters.

    Bits of answers that were drawn differently say different things, of one model and of two. The
    set that most models share is taken, then the one with the most questions.
    """
    by_sampling: defaultdict[int | None, list[LevelReport]] = defaultdict(list)
    for level in levels:
        if OWN in level.scores:
            by_sampling[level.sampling_id].append(level)

    def coverage(own: list[LevelReport]) -> tuple[int, int]:
        return len({one.model for one in own}), sum(one.n_scored for one in own)

    return max(by_sampling.values(), key=coverage, default=[])


def _add_losses(
    session: Session, dataset_id: int, asked: _Asked, measured: dict[int, dict[str, ByQuestion]]
) -> None:
    scored: defaultdict[int, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for format_id in asked.formats:
        for model, losses in read_losses(session, dataset_id, format_id, asked.models).items():
            for question, value in losses.items():
                scored[model][question].append(value)
    for model, by_question in scored.items():
        measured[model][LOSS] = _means(by_question)


def _means(by_question: dict[int, list[float]]) -> ByQuestion:
    return {question: sum(each) / len(each) for question, each in by_question.items()}
