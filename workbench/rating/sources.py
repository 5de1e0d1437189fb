"""The wish for a queue: what is rated, how, from where, and how much of it."""

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    field_validator,
    model_validator,
)
from sqlalchemy import exists, select, true
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError
from db.questions import QuestionFilter, question_ids
from db.rating.queues import Way
from db.rating.ratings import Scope, rater_name
from db.search import search_ids
from db.store.archive import in_use
from db.sweeps import sweep_plan
from db.tables import Dataset, DatasetRow, Dialogue, DialogueNode, Question, Sweep
from db.texts.lists import TextFilter, TextHeader, text_headers
from db.texts.rows import TABLES, ListedKind
from serving.checks import BAD_FINDINGS
from training.datasets.held_out import read_questions, settle
from workbench.rating.sampling import Sampler


def _rater(name: str) -> str:
    try:
        return rater_name(name)
    except UsageError as error:
        raise ValueError(str(error)) from None


RaterName = Annotated[str, AfterValidator(_rater)]


class QueueSpec(BaseModel):
    """What a queue is made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    way: Way = "pair"
    scope: Scope = "reasoning"
    sweep: StrictInt | None = None
    """Only texts that this sweep wrote or found written."""
    dialogue: StrictInt | None = None
    """Only questions of this dialogue session, rejected ones left out, and their texts."""
    dataset: StrictInt | None = None
    """Only what the rows of this dataset hold."""
    questions: tuple[StrictInt, ...] = ()
    """Only these questions, and their texts."""
    round: StrictInt | None = None
    """Only what this round's model and another one wrote in one pass for held-out questions."""
    against: StrictInt | None = None
    """With ``round``: id of the other model version; default is the one that it starts from."""
    search: str = ""
    languages: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    models: tuple[StrictInt, ...] = ()
    """Ids of model versions."""
    leave_out: tuple[str, ...] = BAD_FINDINGS
    """Checks whose findings keep a text out; by default those of texts that cannot train."""
    only_trainable: StrictBool = True
    """Leave out what no dataset would take, however it is rated: texts that a rater flagged, and
    those of held-out questions. Models of a round are compared on held-out questions anyway."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Cards at most."""
    overlap: Annotated[int, Field(ge=1, le=20)] = 1
    sampler: Sampler = "informative"
    reference: Literal["after", "before"] = "after"
    """When the reference answer of a question is shown: once a card is rated, or on the card."""
    repeat_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    guidelines: Annotated[str, Field(max_length=20_000)] = ""
    """What raters are told on each card, in Markdown."""
    raters: dict[RaterName, Annotated[int, Field(ge=1, le=1000)]] = Field(default_factory=dict)
    """Whose the cards are: name → share; none: any rater meets any card."""

    @field_validator("raters", mode="before")
    @classmethod
    def _read_shares(cls, given: object) -> object:
        """Read ``Aki, Ben: 2`` as names with their shares."""
        if not isinstance(given, str):
            return given
        shares: dict[str, str] = {}
        for part in filter(str.strip, re.split("[,、\n]", given)):
            name, _, share = unicodedata.normalize("NFKC", part).rpartition(":")
            shares[(name or share).strip()] = share.strip() if name else "1"
        return shares

    @model_validator(mode="after")
    def _questions_stand_alone(self) -> Self:
        if self.scope == "question" and self.way == "pair":
            raise ValueError("questions are rated one at a time; set way to single or table")
        sources = (self.sweep, self.dialogue, self.dataset, self.round)
        if sum(one is not None for one in sources) + bool(self.questions) > 1:
            raise ValueError(
                "a queue has one source; give a sweep, a dialogue, a dataset, a round or questions"
            )
        compares = self.way == "pair" and self.scope in ("whole", "reasoning")
        if self.round is not None and not compares:
            raise ValueError("models of a round are compared in pairs of outputs or of reasonings")
        return self


SOURCES = ("sweep", "dialogue", "dataset")
"""Fields of a spec that name a source, and the parameters of a link to a new queue."""
MOST_HITS = 5_000
"""Hits of a search that are looked at, the newest."""
BATCH = 120
"""Questions whose texts are read at once."""
MOST_TEXTS = 50_000
"""Read for one queue."""


@dataclass(slots=True)
class Found:
    """Texts to choose from."""

    texts: list[TextHeader] = field(default_factory=list)
    n_questions: int = 0
    """Questions that the source holds."""
    n_looked_at: int = 0
    """Those whose texts were read: as many as the queue needs, drawn by lot."""
    n_held_out: int = 0
    """Questions left out, since they are held out or ask the same as one that is."""


def find_texts(session: Session, spec: QueueSpec, most_questions: int) -> Found:
    """Return the texts of the source of ``spec``, of questions in random order.

    Raises:
        UsageError: The source does not exist.
    """
    kind: ListedKind = "variant" if spec.scope == "reasoning" else "answer"
    own = _in_use(session, _question_ids(session, spec, kind))
    only = _dataset_texts(session, spec, kind)
    asked = len(own)
    if spec.only_trainable:
        never = never_trained(session)
        own = [id for id in own if id not in never]
    random.shuffle(own)
    found = Found(n_questions=len(own), n_held_out=asked - len(own))
    with_texts: set[int] = set()
    for batch in chunks(own, BATCH):
        if len(with_texts) >= most_questions or len(found.texts) >= MOST_TEXTS:
            break
        found.n_looked_at += len(batch)
        for text in text_headers(session, _filter(spec, kind, batch)):
            if only is None or text.id in only:
                with_texts.add(text.question_id)
                found.texts.append(text)
    return found


def never_trained(session: Session) -> set[int]:
    """Return the questions that no dataset trains: held out, or of the family of one that is."""
    if not session.scalar(select(exists().where(Question.held_out.is_(True)))):
        return set()
    splits = settle(read_questions(session), (), 0).split
    return {id for id, split in splits.items() if split != "train"}


def source_names(session: Session, most: int) -> dict[str, str]:
    """Return the names of the newest sources of each kind by ``kind:id``."""
    tables: tuple[tuple[str, Any, Any], ...] = (
        ("sweep", Sweep, Sweep.purpose == "sweep"),
        ("dialogue", Dialogue, true()),
        ("dataset", Dataset, true()),
    )
    named = {}
    for kind, table, shown in tables:
        offered = select(table.id, table.name).where(shown, in_use(table))
        newest = offered.order_by(table.id.desc()).limit(most)
        named.update({f"{kind}:{row.id}": row.name for row in session.execute(newest)})
    return named


def find_questions(session: Session, spec: QueueSpec) -> list[int]:
    """Return the questions of the source of ``spec`` that are to be rated themselves, shuffled.

    Raises:
        UsageError: The source does not exist.
    """
    ids = _in_use(session, _question_ids(session, spec, None))
    if spec.search.strip():
        hits = set(search_ids(session, "question", spec.search))
        ids = [id for id in ids if id in hits]
    wanted = [Question.role.in_(spec.roles)] if spec.roles else []
    if spec.languages:
        wanted.append(Question.language.in_(spec.languages))
    if wanted:
        matching = set(session.scalars(select(Question.id).where(*wanted)))
        ids = [id for id in ids if id in matching]
    random.shuffle(ids)
    return ids


def _question_ids(session: Session, spec: QueueSpec, kind: ListedKind | None) -> list[int]:
    """Return the questions of the source; where it is everything, those with texts of ``kind``."""
    if spec.questions:
        return question_ids(session, QuestionFilter(ids=spec.questions))
    if spec.dialogue is not None:
        return _dialogue(session, spec.dialogue)
    if spec.dataset is not None:
        if session.get(Dataset, spec.dataset) is None:
            raise UsageError(
                "There is no dataset {dataset}; `q2q dataset show` lists them.",
                dataset=spec.dataset,
            )
        rows = select(DatasetRow.question_id).where(DatasetRow.dataset_id == spec.dataset)
        return list(session.scalars(rows.distinct()))
    if spec.sweep is not None:
        planned = sweep_plan(session, spec.sweep).get("question_ids")
        if planned:
            return list(planned)
    if kind is None:
        return question_ids(session, QuestionFilter(in_pool=True))
    table = TABLES[kind]
    query = select(table.question_id).distinct()
    if not spec.search.strip():
        return list(session.scalars(query))
    hits = search_ids(session, kind, spec.search, MOST_HITS)
    ids: set[int] = set()
    for some in chunks(hits):
        ids.update(session.scalars(query.where(table.id.in_(some))))
    return list(ids)


def _in_use(session: Session, ids: list[int]) -> list[int]:
    archived = set(session.scalars(select(Question.id).where(in_use(Question, archived=True))))
    return [one for one in ids if one not in archived]


def _dialogue(session: Session, dialogue_id: int) -> list[int]:
    if session.get(Dialogue, dialogue_id) is None:
        raise UsageError(
            "There is no dialogue {dialogue_id}; `q2q dialogue show` lists them all.",
            dialogue_id=dialogue_id,
        )
    asked = select(DialogueNode.question_id).where(
        DialogueNode.dialogue_id == dialogue_id, DialogueNode.state != "rejected"
    )
    return list(session.scalars(asked.distinct()))


def _dataset_texts(session: Session, spec: QueueSpec, kind: ListedKind) -> set[int] | None:
    """Return the texts that the rows of a dataset hold; None where the source is another one."""
    if spec.dataset is None:
        return None
    columns = (
        (DatasetRow.variant_id, DatasetRow.rejected_variant_id)
        if kind == "variant"
        else (DatasetRow.answer_id, DatasetRow.rejected_answer_id)
    )
    rows = session.execute(select(*columns).where(DatasetRow.dataset_id == spec.dataset))
    return {text_id for row in rows for text_id in row if text_id is not None}


def _filter(spec: QueueSpec, kind: ListedKind, question_ids: Sequence[int]) -> TextFilter:
    return TextFilter(
        kind=kind,
        sweep_id=spec.sweep,
        question_ids=tuple(question_ids),
        search=spec.search,
        languages=spec.languages,
        roles=spec.roles,
        formats=spec.formats,
        model_version_ids=spec.models,
    )
