"""How well models know the held-out rows of a dataset, scored where they are served.

The loss of a row is the mean negative log-probability of a token to learn, in nats, the stop token
included; the prompt does not count, whatever the run learned from. All models read the same ids
in the same 16-bit engine, so that a base, its rounds and a merge can be compared, which the figures
of training runs (4-bit bases, other rows) cannot.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy.orm import Session

from db.database import Database
from db.datasets import (
    HeldOutRow,
    RowScoreKey,
    find_row_scores,
    held_out_rows,
    record_row_scores,
)
from db.errors import UsageError
from serving.engine.served import Engines, ServedModel
from serving.formats.definitions import FormatDefinition, PromptError
from serving.formats.render import IGNORED_LABEL
from serving.scoring.run import OnProgress, finished, score_all, why_unable
from serving.scoring.sender import ScorePrompt, ScoreSender, Told, too_long
from serving.sweeps.expand import load_book
from training.datasets.encode import encode_row
from training.datasets.payload import RowTexts, Target

MOST_ROWS = 200
"""Held-out rows that are scored, the first ones; the training looks at as many."""


@dataclass(slots=True, kw_only=True)
class LossOutcome:
    """How a run ended; the counts are of all rows and models."""

    wanted: int = 0
    scored: int = 0
    failed: int = 0
    unable: list[str] = field(default_factory=list)
    """Why models cannot score, one sentence each."""
    cancelled: bool = False


async def score_held_out(
    database: Database,
    dataset_id: int,
    format_id: int,
    model_ids: Collection[int],
    engines: Engines,
    *,
    on_progress: OnProgress = lambda done, total, message: None,
    cancelled: asyncio.Event | None = None,
) -> LossOutcome:
    """Score the held-out rows with each model; what has a score is not scored again.

    Raises:
        EngineUnavailable: A server cannot be had, or was lost again and again.
    """
    run = _Run(database, dataset_id, format_id, model_ids, on_progress)
    await asyncio.to_thread(run.open)
    is_done = await finished(score_all(engines, run), cancelled or asyncio.Event())
    run.outcome.cancelled = not is_done
    return run.outcome


def read_losses(
    session: Session, dataset_id: int, format_id: int, model_ids: Collection[int]
) -> dict[int, dict[int, float]]:
    """Return each model's loss by question, in nats a token; several rows of one are averaged.

    Rows that one of the models could not score count for none, so that all are judged alike.
    """
    known = find_row_scores(session, dataset_id)
    found: dict[int, defaultdict[int, list[float]]] = {one: defaultdict(list) for one in model_ids}
    for row in held_out_rows(session, dataset_id, MOST_ROWS):
        scores = [known.get(RowScoreKey(row.row_id, format_id, model)) for model in model_ids]
        for model, score in zip(model_ids, scores, strict=True):
            if all(one is not None and one.n_tokens for one in scores):
                assert score is not None
                assert score.log_prob is not None
                assert score.n_tokens is not None
                found[model][row.question_id].append(-score.log_prob / score.n_tokens)
    return {
        model: {question: sum(each) / len(each) for question, each in own.items()}
        for model, own in found.items()
    }


class _Run:
    def __init__(
        self,
        database: Database,
        dataset_id: int,
        format_id: int,
        model_ids: Collection[int],
        on_progress: OnProgress,
    ) -> None:
        self._database = database
        self._dataset_id = dataset_id
        self._format_id = format_id
        self._model_ids = model_ids
        self._on_progress = on_progress
        self._form: FormatDefinition | None = None
        self._missing: dict[int, list[HeldOutRow]] = {}
        self.outcome = LossOutcome()

    def open(self) -> None:
        """Find the rows without a score; those that could not be scored are tried again."""
        with self._database.read() as session:
            self._form = load_book(session).formats[self._format_id]
            rows = held_out_rows(session, self._dataset_id, MOST_ROWS)
        self.outcome.wanted = len(rows) * len(self._model_ids)
        self._missing = dict.fromkeys(self._model_ids, rows)
        self.look_again()
        self.outcome.scored = self.outcome.wanted - sum(map(len, self._missing.values()))

    def missing(self) -> list[int]:
        """Return the models that have rows left."""
        return [model for model, rows in self._missing.items() if rows]

    def n_ended(self) -> int:
        """Return how many rows have come to an end, over all models."""
        return self.outcome.scored + self.outcome.failed

    def report(self, message: str) -> None:
        """Tell how far it is."""
        self._on_progress(self.n_ended(), self.outcome.wanted, message)

    def look_again(self) -> None:
        """Leave out what has a score by now."""
        with self._database.read() as session:
            known = find_row_scores(session, self._dataset_id)
        for model, rows in self._missing.items():
            told = {row.row_id: known.get(self._key(row, model)) for row in rows}
            done = {row_id for row_id, score in told.items() if score and score.error is None}
            self._missing[model] = [row for row in rows if row.row_id not in done]

    async def score(self, model: ServedModel) -> None:
        """Score the rows that are left for ``model``, or note why it cannot."""
        own = model.model_version_id
        rows = self._missing.get(own, [])
        reason = why_unable(model)
        if reason is None and rows:

            def render(some: Sequence[HeldOutRow]) -> list[ScorePrompt[HeldOutRow]]:
                return [self._rendered(row, model) for row in some]

            def store(told: Sequence[Told[HeldOutRow]]) -> None:
                new = [(self._key(one.sequence.item, own), one.score) for one in told]
                with self._database.write() as session:
                    record_row_scores(session, new)

            await ScoreSender(model, render, store, self._on_scored, priority=0).run(rows)
        elif reason is not None:
            self.outcome.unable.append(reason)
        self._missing[own] = []

    def _on_scored(self, n_scored: int, n_failed: int) -> None:
        self.outcome.scored += n_scored
        self.outcome.failed += n_failed
        self.report("scoring held-out rows")

    def _key(self, row: HeldOutRow, model_id: int) -> RowScoreKey:
        return RowScoreKey(row.row_id, self._format_id, model_id)

    def _rendered(self, row: HeldOutRow, model: ServedModel) -> ScorePrompt[HeldOutRow]:
        """Return the ids of a row as it would be trained: of pairs, what was chosen."""
        assert self._form is not None
        assert model.tokenizer is not None
        texts, target = RowTexts.from_payload(row.payload), cast(Target, row.target)
        try:
            encoded = encode_row(
                "sft", texts, target, None, form=self._form, tokenizer=model.tokenizer
            )
        except (PromptError, UsageError) as error:
            return ScorePrompt(row, problem=str(error))
        ids = tuple(cast(list[int], encoded["input_ids"]))
        n_prompt = cast(list[int], encoded["labels"]).count(IGNORED_LABEL)
        return ScorePrompt(row, ids, len(ids) - n_prompt, problem=too_long(ids, model))
