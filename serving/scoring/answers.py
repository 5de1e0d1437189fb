"""The score job: answers scored under reasonings that they were and were not written under."""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from db.database import Database
from db.errors import UsageError
from db.generations import PromptText
from db.jobs import OnProgress, no_progress
from db.texts.scores import NewScore, ScoreKey, record_scores
from serving.engine.client import Engines, ServedModel
from serving.formats.definitions import Completion, PromptError, PromptFields, Task
from serving.formats.render import IGNORED_LABEL, render, render_example, task_templates
from serving.scoring.pairs import (
    Pair,
    make_controls,
    pairs_of,
    read_groups,
    scores_of,
    with_controls,
)
from serving.scoring.run import Scored, ScoreItem, ScoreRun, too_long
from serving.scoring.spec import ScoreSpec
from serving.sweeps.expand import load_templates, prompt_fields

WITHHELD = "…"
"""Stands in the question's place where it is withheld; no word of any language. The context is
left out as well."""


@dataclass(slots=True, kw_only=True)
class ScoreOutcome:
    """How a run ended; the counts are of all that its spec wants."""

    questions: int = 0
    pairs: int = 0
    scored: int = 0
    """Pairs that have a score now."""
    failed: int = 0
    """Pairs that could not be scored, e.g. because they are too long."""
    new: int = 0
    """Scores that this run added."""
    unable: list[str] = field(default_factory=list)
    """Why models cannot score, one sentence each."""
    cancelled: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


async def run_scoring(
    database: Database,
    spec: ScoreSpec,
    engines: Engines,
    *,
    on_progress: OnProgress = no_progress,
    cancelled: asyncio.Event | None = None,
    priority: int = 0,
) -> ScoreOutcome:
    """Score what is missing of ``spec``; call it again to go on.

    Args:
        database: The store; missing control reasonings are written first.
        spec: What to score.
        engines: The servers.
        on_progress: Called whenever scores have been stored.
        cancelled: Set it to stop; what has arrived is stored.
        priority: Negative for interactive work, which does not wait for sweeps.

    Raises:
        UsageError: ``spec`` names something that is not there.
        EngineUnavailable: A server cannot be had, or was lost again and again.
    """
    run = _AnswerScores(database, spec, on_progress, priority)
    counts = asdict(await run.run(engines, cancelled))
    return ScoreOutcome(questions=run.n_questions, pairs=counts.pop("wanted"), **counts)


class _AnswerScores(ScoreRun[Pair]):
    def __init__(
        self, database: Database, spec: ScoreSpec, on_progress: OnProgress, priority: int
    ) -> None:
        super().__init__(database, on_progress, priority=priority)
        self._spec = spec
        self._prompt_ids: dict[str, int] = {}
        self.n_questions = 0

    def open(self) -> None:
        """Write the controls that are missing, and find the pairs without a score."""
        with self.database.write() as session:
            groups = read_groups(session, self._spec)
            if self._spec.controls or self._spec.leak:
                make_controls(session, groups)
                session.flush()
                groups = with_controls(session, groups)
        with self.database.read() as session:
            self._templates = load_templates(session)
            known = scores_of(session, groups)
        self.n_questions = len({group.question.id for group in groups})
        # A foreign reasoning can stand for several of its question's: one pair, scored once.
        pairs = {pair.key: pair for group in groups for pair in pairs_of(group, self._spec)}
        self.counts.wanted = len(pairs)
        for key, pair in pairs.items():
            score = known.get(key)
            if score is None or (score.error is not None and self._spec.retry):
                self.missing.setdefault(pair.group.model_id, {})[key] = pair
            else:
                self.counts.scored += score.error is None
                self.counts.failed += score.error is not None

    def render(self, one: Pair, key: Hashable, model: ServedModel) -> ScoreItem:
        """Return the prompt as it would be served, and the answer after it."""
        form = self._templates.formats[one.group.format_id]
        task: Task = "answer" if one.under else "vanilla"
        given = [one.under.text] if one.under else []
        system = self._templates.systems[one.group.role_id]
        fields = prompt_fields(one.group.question, system, task, given)
        if one.withheld:
            fields = withheld(fields)
        try:
            prompt = render(form, task, fields, model.tokenizer)
            answer = Completion(response=one.answer.text)
            assert model.tokenizer is not None
            example = render_example(form, task, fields, answer, model.tokenizer)
        except (PromptError, UsageError) as error:
            return ScoreItem(key=key, problem=str(error))
        ids = example.token_ids
        if task_templates(form, task).ends_with_stop_token and not one.answer.is_ended:
            ids = ids[:-1]
        return ScoreItem(
            key=key,
            token_ids=ids,
            n_scored=len(ids) - example.labels.count(IGNORED_LABEL),
            prompt=PromptText(
                content_hash=prompt.content_hash,
                text=prompt.text,
                token_ids=prompt.id_bytes,
                n_tokens=len(prompt.token_ids),
            ),
            problem=too_long(ids, model),
        )

    def store(self, model_id: int, scored: Sequence[Scored]) -> None:
        """Write scores with their prompts."""
        known = dict(self._prompt_ids)
        new = [NewScore(cast(ScoreKey, item.key), score, item.prompt) for item, score in scored]
        with self.database.write() as session:
            record_scores(session, new, known)
        self._prompt_ids = known


def withheld(fields: PromptFields) -> PromptFields:
    """Return ``fields`` without the question and its context."""
    return replace(fields, question=WITHHELD, context="")
