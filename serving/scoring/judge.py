"""A model as judge: does an answer say what the reference answer says?

Each answer is put beside the reference twice, once in each order, and the probabilities of the two
verdicts after the prompt are read from the engine: nothing is generated and nothing parsed. Where
both orders say the same, the model rates the answer OK or not; where they do not, it only notes so
(a judge that the order sways knows nothing: Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and
Chatbot Arena", 2023). Its ratings are those of a rater of the kind ``model``.
"""

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.identity import short_hash
from db.jobs import OnProgress, no_progress
from db.rating.ratings import FLAG, OK, NewRating, Target, add_ratings, ensure_model_rater
from db.spec_files import validated
from db.sweeps import get_sweep
from db.tables import Answer, Question, Rating, SweepGeneration
from db.texts.scores import find_format
from serving.engine.client import Engines, ServedModel
from serving.formats.definitions import Completion, PromptError, PromptFields
from serving.formats.render import IGNORED_LABEL, render_example
from serving.scoring.run import Scored, ScoreItem, ScoreRun, too_long
from serving.sweeps.expand import load_templates
from serving.sweeps.selection import chosen_model

SAMPLER: Final = "judge"
UNDECIDED: Final = "undecided"
"""Label of the mark on an answer about which the two orders disagree."""
VERSION: Final = 1
"""Raised with every change of the prompt: what was judged by another one is judged anew."""
SYSTEM: Final = "You compare two answers to the same question. You reply with one word: Yes or No."
ASKED: Final = (
    "Question:\n{question}\n\nOne answer:\n{first}\n\nAnother answer:\n{second}\n\n"
    "Do both answers say the same in what the question asks for? Reply Yes or No."
)
VERDICTS: Final = ("Yes", "No")
MOST_CHARACTERS: Final = 6_000
"""Read of an answer, its last ones."""


class JudgeSpec(BaseModel):
    """Which answers are judged, and by whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """The model that judges, or ``default``; it must tell probabilities of prompts."""
    sweep: StrictInt | None = Field(default=None, ge=1)
    """Only answers that this sweep shows."""
    questions: tuple[StrictInt, ...] = ()
    """Only answers to these questions."""
    format: str = "chat@1"
    most_answers: StrictInt = Field(default=5_000, ge=1)


def parse_judge_spec(values: dict[str, object]) -> JudgeSpec:
    """Return the spec in ``values``.

    Raises:
        UsageError: A key or a value is wrong.
    """
    return validated(JudgeSpec, values, "This cannot be judged: {problems}.")


class Verdict(NamedTuple):
    """One verdict after one order: what is scored."""

    answer_id: int
    reference_first: bool
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswer:
    """An answer beside the reference of its question."""

    answer_id: int
    question_id: int
    variant_id: int | None
    question: str
    reference: str
    text: str

    def card(self, judge: str) -> str:
        """Return what makes this judgement one fact, however often it is asked for."""
        key = short_hash(str(VERSION), judge, self.reference)
        return f"judge/{key}/{self.answer_id}"


@dataclass(slots=True, kw_only=True)
class JudgeOutcome:
    """How a run ended."""

    answers: int = 0
    """All that the spec wants."""
    ok: int = 0
    not_ok: int = 0
    undecided: int = 0
    """Answers about which the two orders disagree."""
    failed: int = 0
    """Answers that could not be judged, e.g. because they are too long."""
    known: int = 0
    """Judged by an earlier run."""
    unable: list[str] = field(default_factory=list)
    cancelled: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


async def run_judge(
    database: Database,
    spec: JudgeSpec,
    engines: Engines,
    *,
    on_progress: OnProgress = no_progress,
    cancelled: asyncio.Event | None = None,
    priority: int = 0,
) -> JudgeOutcome:
    """Judge what is missing of ``spec``; call it again to go on.

    Raises:
        UsageError: The model, the sweep or the format is not there.
        EngineUnavailable: A server cannot be had, or was lost again and again.
    """
    run = _Judging(database, spec, on_progress, priority)
    counts = await run.run(engines, cancelled)
    run.outcome.unable, run.outcome.cancelled = counts.unable, counts.cancelled
    return run.outcome


class _Judging(ScoreRun[Verdict]):
    doing = "judging"

    def __init__(
        self, database: Database, spec: JudgeSpec, on_progress: OnProgress, priority: int
    ) -> None:
        super().__init__(database, on_progress, priority=priority)
        self.spec, self.outcome = spec, JudgeOutcome()
        self._answers: dict[int, JudgedAnswer] = {}
        self._found: defaultdict[int, dict[Verdict, float | None]] = defaultdict(dict)

    def open(self) -> None:
        """Find the answers without a judgement of this model."""
        with self.database.write() as session:
            model = chosen_model(session, self.spec.model)
            self._judge = model.name
            self._rater_id = ensure_model_rater(session, f"judge {model.name}"[:60], model.name)
            self._format_id = find_format(session, self.spec.format)
            self._templates = load_templates(session)
            every = _answers(session, self.spec)
            known = _known(session, self._rater_id)
        self.outcome.answers = len(every)
        for one in every:
            if one.card(self._judge) in known:
                self.outcome.known += 1
                continue
            self._answers[one.answer_id] = one
            for first in (True, False):
                for word in VERDICTS:
                    verdict = Verdict(one.answer_id, first, word)
                    self.missing.setdefault(model.id, {})[verdict] = verdict
        self.counts.wanted = 4 * len(self._answers)

    def render(self, one: Verdict, key: Hashable, model: ServedModel) -> ScoreItem:
        """Return the prompt with the verdict after it."""
        answer = self._answers[one.answer_id]
        sides = (answer.reference, answer.text)
        first, second = sides if one.reference_first else sides[::-1]
        asked = ASKED.format(question=answer.question, first=first, second=second)
        form = self._templates.formats[self._format_id]
        fields = PromptFields(system=SYSTEM, question=asked)
        assert model.tokenizer is not None
        try:
            verdict = Completion(response=one.word)
            example = render_example(form, "vanilla", fields, verdict, model.tokenizer)
        except (PromptError, UsageError) as error:
            return ScoreItem(key=key, problem=str(error))
        ids = example.token_ids
        return ScoreItem(
            key=key,
            token_ids=ids,
            n_scored=len(ids) - example.labels.count(IGNORED_LABEL),
            problem=too_long(ids, model),
        )

    def store(self, model_id: int, scored: Sequence[Scored]) -> None:
        """Write the judgement of every answer all of whose verdicts have come."""
        ready = []
        for item, score in scored:
            assert isinstance(item.key, Verdict)
            found = self._found[item.key.answer_id]
            found[item.key] = score.log_prob
            if len(found) == 4:
                ready.append(item.key.answer_id)
        ratings = []
        for answer_id in ready:
            is_ok = decided(self._found.pop(answer_id))
            if is_ok == "failed":
                self.outcome.failed += 1
                continue
            ratings.append(self._rating(self._answers[answer_id], is_ok))
            self.outcome.ok += is_ok is True
            self.outcome.not_ok += is_ok is False
            self.outcome.undecided += is_ok is None
        with self.database.write() as session:
            add_ratings(session, ratings)

    def _rating(self, answer: JudgedAnswer, is_ok: bool | str | None) -> NewRating:
        return NewRating(
            rater_id=self._rater_id,
            scope="answer",
            target=Target(
                question_id=answer.question_id,
                variant_id=answer.variant_id,
                answer_id=answer.answer_id,
            ),
            axis=FLAG if is_ok is None else OK,
            value=None if is_ok is None else float(bool(is_ok)),
            label=UNDECIDED if is_ok is None else None,
            blind=True,
            answer_seen=True,
            sampler=SAMPLER,
            card_id=answer.card(self._judge),
        )


def decided(found: dict[Verdict, float | None]) -> bool | str | None:
    """Return what both orders say: True (the same), False, None where they disagree.

    ``failed`` where a probability is missing.
    """
    leads = []
    for first in (True, False):
        yes, no = (
            next(v for key, v in found.items() if key[1:] == (first, word)) for word in VERDICTS
        )
        if yes is None or no is None:
            return "failed"
        leads.append(yes - no)
    if leads[0] * leads[1] <= 0:
        return None
    return leads[0] > 0


def _answers(session: Session, spec: JudgeSpec) -> list[JudgedAnswer]:
    if spec.sweep is not None:
        get_sweep(session, spec.sweep)
    query = (
        select(
            Answer.id.label("answer_id"),
            Answer.question_id,
            Answer.variant_id,
            Question.text.label("question"),
            Question.context,
            Question.reference_answer.label("reference"),
            Answer.text,
        )
        .join(Question, Question.id == Answer.question_id)
        .where(Question.reference_answer.is_not(None))
        .order_by(Answer.id)
        .limit(spec.most_answers)
    )
    if spec.questions:
        query = query.where(Answer.question_id.in_(spec.questions))
    if spec.sweep is not None:
        query = query.join(
            SweepGeneration, SweepGeneration.generation_id == Answer.generation_id
        ).where(SweepGeneration.sweep_id == spec.sweep)
    found = []
    for row in session.execute(query):
        values = dict(row._mapping)
        context = values.pop("context")
        values["text"] = values["text"][-MOST_CHARACTERS:]
        if context:
            values["question"] = f"{values['question']}\n\n{context}"
        found.append(JudgedAnswer(**values))
    return found


def _known(session: Session, rater_id: int) -> set[str]:
    query = select(Rating.card_id).where(Rating.rater_id == rater_id, Rating.sampler == SAMPLER)
    return set(session.scalars(query))
