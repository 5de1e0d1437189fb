"""How well models know the held-out rows of a dataset, scored where they are served.

The loss of a row is the mean negative log-probability of a token to learn, in nats, the stop token
included; the prompt does not count, whatever the run learned from. All models read the same ids
in the same 16-bit engine, so that a base, its rounds and a merge can be compared, which the figures
of training runs (4-bit bases, other rows) cannot.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
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
from db.jobs import OnProgress, no_progress
from serving.engine.client import Engines, ServedModel
from serving.formats.definitions import PromptError
from serving.formats.render import IGNORED_LABEL
from serving.scoring.run import (
    ScoreCounts,
    Scored,
    ScoreItem,
    ScoreRun,
    too_long,
)
from serving.sweeps.expand import load_templates
from training.datasets.rows import RowTexts, Target, encode_row

MOST_ROWS = 200
"""Held-out rows that are scored, the first ones; the training looks at as many."""


async def score_held_out(
    database: Database,
    dataset_id: int,
    format_id: int,
    model_ids: Collection[int],
    engines: Engines,
    *,
    on_progress: OnProgress = no_progress,
    cancelled: asyncio.Event | None = None,
) -> ScoreCounts:
    """Score the held-out rows with each model; what has a score is not scored again.

    Raises:
        EngineUnavailable: A server cannot be had, or was lost again and again.
    """
    run = _HeldOutScores(database, dataset_id, format_id, model_ids, on_progress)
    return await run.run(engines, cancelled)


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


class _HeldOutScores(ScoreRun[HeldOutRow]):
    doing = "scoring held-out rows"

    def __init__(
        self,
        database: Database,
        dataset_id: int,
        format_id: int,
        model_ids: Collection[int],
        on_progress: OnProgress,
    ) -> None:
        super().__init__(database, on_progress)
        self._dataset_id = dataset_id
        self._format_id = format_id
        self._model_ids = model_ids

    def open(self) -> None:
        """Find the rows without a score; those that could not be scored are tried again."""
        with self.database.read() as session:
            self._form = load_templates(session).formats[self._format_id]
            rows = held_out_rows(session, self._dataset_id, MOST_ROWS)
            known = find_row_scores(session, self._dataset_id)
        self.counts.wanted = len(rows) * len(self._model_ids)
        for model_id in self._model_ids:
            scores = {row.row_id: known.get(self._key(row.row_id, model_id)) for row in rows}
            self.missing[model_id] = {
                row.row_id: row
                for row in rows
                if (score := scores[row.row_id]) is None or score.error is not None
            }
        self.counts.scored = self.counts.wanted - sum(map(len, self.missing.values()))

    def render(self, one: HeldOutRow, key: Hashable, model: ServedModel) -> ScoreItem:
        """Return the ids of a row as it would be trained: of pairs, what was chosen."""
        assert model.tokenizer is not None
        texts, target = RowTexts.from_payload(one.payload), cast(Target, one.target)
        try:
            encoded = encode_row(
                "demonstrations", texts, target, None, form=self._form, tokenizer=model.tokenizer
            )
        except (PromptError, UsageError) as error:
            return ScoreItem(key=key, problem=str(error))
        ids = tuple(cast(list[int], encoded["input_ids"]))
        n_prompt = cast(list[int], encoded["labels"]).count(IGNORED_LABEL)
        return ScoreItem(
            key=key, token_ids=ids, n_scored=len(ids) - n_prompt, problem=too_long(ids, model)
        )

    def store(self, model_id: int, scored: Sequence[Scored]) -> None:
        """Write the scores of one model."""
        new = [(self._key(cast(int, item.key), model_id), score) for item, score in scored]
        with self.database.write() as session:
            record_row_scores(session, new)

    def _key(self, row_id: int, model_id: int) -> RowScoreKey:
        return RowScoreKey(row_id, self._format_id, model_id)
