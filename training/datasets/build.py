"""From rules to rows, and what became of the others; writes nothing."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.bulk import chunks
from db.errors import UsageError
from db.identity import json_hash
from db.rating.ratings import RESERVED
from db.tables import Answer, Rating, ReasoningVariant
from serving.formats.definitions import question_values
from serving.formats.library import Registry
from serving.formats.parse import write_questions
from serving.sweeps.selection import select_questions
from training.datasets.candidates import Candidate, Pool, Proposal, read_pool, read_proposals
from training.datasets.drops import Draft, Dropper, Split
from training.datasets.evidence import Evidence, Judgement, read_evidence
from training.datasets.held_out import Families, QuestionInfo, read_questions, settle
from training.datasets.rows import RowTexts, Target
from training.datasets.rules import DemonstrationRules, PairRules, Rules
from training.datasets.take import DemonstrationTaker, LabelledTaker, PairTaker

NEXT_QUESTION = "Ask the next question that this one leads to."
"""What the model is asked in rows from question to question; the question is the context."""

KEY_DIGITS = 12
"""Of the hash of a row that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRow:
    """One row, ready to be frozen."""

    key: str
    """Of its words: the same row has the same key in every store."""
    split: Split
    target: Target
    candidate: Candidate
    texts: RowTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What each rule took and dropped.

    The figures add up: ``candidates`` is ``not_taken`` and ``taken`` together, ``taken`` is
    ``dropped`` and ``kept`` together.
    """

    candidates: int
    not_taken: dict[str, int]
    """Why no rule took them → how many."""
    taken: dict[str, int]
    """Rule → how many it took; each counts for the first rule that took it."""
    dropped: dict[str, int]
    """Why they were dropped after all → how many."""
    kept: int
    rows: dict[Split, int]
    """Rows to train on and held out; more than kept where one example gives two rows."""
    targets: dict[str, int]
    roles: dict[str, int]
    languages: dict[str, int]
    questions: int
    newly_held_out: int
    """Questions that freezing keeps from training for good."""
    newly_trained: int
    """Questions that freezing fixes as ones to train on: they are never held out then."""
    ratings: int
    """Ratings behind the rows."""
    off_scale: int = 0
    """Ratings that were not counted, since their value is not one of their axis."""
    answer_seen: int = 0
    """Ratings of reasonings that were not counted, since an answer had been seen."""
    struck_out: int = 0
    """Rows that a person left out by hand; ``rows`` is without them."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {name: getattr(self, name) for name in type(self).__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A dataset before it is stored."""

    rules: Rules
    rows: tuple[BuiltRow, ...]
    struck_out: tuple[BuiltRow, ...]
    """Rows that would be here as well, had nobody left them out by hand."""
    counts: Counts
    families: Families
    content_hash: str
    """Of kind and rows; not of the name, the rules or the ids of the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What rules choose from."""

    questions: Mapping[int, QuestionInfo]
    families: Families
    pool: Pool


def build(session: Session, rules: Rules, registry: Registry) -> Built:
    """Return the rows that ``rules`` choose and what became of the others; writes nothing.

    Raises:
        UsageError: The rules name something that is not in the store.
    """
    return build_from(session, gather(session, rules, registry), rules, registry)


def gather(session: Session, rules: Rules, registry: Registry) -> Material:
    """Return what ``rules`` choose from; other rules on the same questions may share it.

    Raises:
        UsageError: The rules name something that is not in the store.
    """
    selected = check_rules(session, rules, registry)
    questions = read_questions(session)
    by_id = {one.id: one for one in questions}
    wanted = {one: by_id[one] for one in selected}
    return Material(
        questions=wanted,
        families=settle(questions, selected, rules.held_out),
        pool=read_pool(session, wanted),
    )


def build_from(
    session: Session,
    material: Material,
    rules: Rules,
    registry: Registry,
    expected: Iterable[Judgement] = (),
) -> Built:
    """Return the rows that ``rules`` choose from ``material``, as ``build`` does.

    ``expected`` are judgements that are not stored, taken as if they were.
    """
    wanted, families, pool = material.questions, material.families, material.pool
    evidence = read_evidence(session, rules, wanted, expected)
    taker = _taker(session, rules, wanted, pool, evidence)
    taken = list(taker.taken())
    dropper = Dropper(rules, pool)
    drafts = list(_drafts(session, taken, wanted, families, registry, dropper))
    kept = dropper.keep(drafts)
    made = _rows(kept, rules)
    struck_out = tuple(row for row in made if row.key in rules.struck_out)
    rows = [row for row in made if row.key not in rules.struck_out]
    hashed = {
        "kind": rules.kind,
        "rows": [[r.split, r.target, r.candidate.label, r.texts.payload()] for r in rows],
    }
    return Built(
        rules=rules,
        rows=tuple(rows),
        struck_out=struck_out,
        counts=Counts(
            candidates=len(taken) + sum(taker.not_taken.values()),
            not_taken=_counted(taker.not_taken),
            taken=_counted(Counter(one.rule for one in taken)),
            dropped=_counted(dropper.dropped),
            kept=len(kept),
            rows={
                "train": sum(row.split == "train" for row in rows),
                "held_out": sum(row.split == "held_out" for row in rows),
            },
            targets=_counted(Counter(row.target for row in rows)),
            roles=_counted(Counter(row.texts.role for row in rows)),
            languages=_counted(Counter(row.texts.language or "?" for row in rows)),
            questions=len({row.candidate.question_id for row in rows}),
            newly_held_out=sum(families.to_fix.values()),
            newly_trained=sum(not held for held in families.to_fix.values()),
            ratings=len({one for row in rows for one in row.candidate.rating_ids}),
            off_scale=taker.evidence.n_off_scale,
            answer_seen=taker.evidence.n_answer_seen,
            struck_out=len(struck_out),
        ),
        families=families,
        content_hash=json_hash(hashed),
    )


def check_rules(session: Session, rules: Rules, registry: Registry) -> list[int]:
    """Return the questions that ``rules`` choose from, as soon as all that they name is there.

    Raises:
        UsageError: The rules name something that is not in the store.
    """
    _check_roles(rules, registry)
    _check_axes(session, rules)
    roles = registry.current.roles
    return select_questions(session, rules.questions, roles, only_pool=False)


def _check_axes(session: Session, rules: Rules) -> None:
    """Refuse an axis that nothing was rated on, where others were: it would take no text."""
    rated = rules.take.rated if isinstance(rules, DemonstrationRules) else None
    if rated is None or not rated.axes:
        return
    scales = select(Rating.axis).where(Rating.value.is_not(None), Rating.axis.not_in(RESERVED))
    known = sorted(session.scalars(scales.distinct()))
    unknown = [axis for axis in rated.axes if axis not in known]
    if known and unknown:
        raise UsageError(
            "take.rated.axes: nothing is rated on the axis {unknown!r}; ratings are on {known}.",
            unknown=unknown[0],
            known=", ".join(known),
        )


def _check_roles(rules: Rules, registry: Registry) -> None:
    known = {full_name.rpartition("@")[0] for full_name in registry.roles}
    for role in rules.targets if isinstance(rules, DemonstrationRules) else ():
        if role not in known:
            raise UsageError(
                "targets: there is no role {role!r}; known are {known}.",
                role=role,
                known=", ".join(sorted(known)),
            )


def _taker(
    session: Session,
    rules: Rules,
    questions: Mapping[int, QuestionInfo],
    pool: Pool,
    evidence: Evidence,
) -> DemonstrationTaker | PairTaker | LabelledTaker:
    if isinstance(rules, DemonstrationRules):
        proposals = read_proposals(session, questions)
        return DemonstrationTaker(rules, questions, pool, evidence, proposals)
    if isinstance(rules, PairRules):
        return PairTaker(rules, pool, evidence, read_proposals(session, questions))
    return LabelledTaker(rules, pool, evidence)


def _drafts(
    session: Session,
    taken: Sequence[Candidate],
    questions: Mapping[int, QuestionInfo],
    families: Families,
    registry: Registry,
    dropper: Dropper,
) -> Iterator[Draft]:
    """Yield what was taken with its words; without what is too near to what is held out."""
    variants = _words(
        session,
        ReasoningVariant.text,
        {i for one in taken for i in (one.variant_id, one.rejected_variant_id) if i},
    )
    answers = _words(
        session,
        Answer.text,
        {i for one in taken for i in (one.answer_id, one.rejected_answer_id) if i},
    )
    for one in taken:
        question = questions[one.question_id]
        split = families.split[question.id]
        if split == "near_held_out":
            dropper.dropped["near_held_out"] += 1
            continue
        role = one.role or question.role
        texts = RowTexts(
            **question_values(question),
            system=registry.role(role).definition.system,
            role=role,
            language=question.language,
            reasoning=variants.get(one.variant_id),
            answer=answers.get(one.answer_id),
            rejected_reasoning=variants.get(one.rejected_variant_id),
            rejected_answer=answers.get(one.rejected_answer_id),
        )
        if one.proposal is not None:
            texts = _proposed(texts, one.proposal, is_pair=dropper.rules.rows == "pairs")
        elif one.next_question_id is not None:
            texts = replace(
                texts,
                question=NEXT_QUESTION,
                context=question.text,
                answer=questions[one.next_question_id].text,
            )
        yield Draft(candidate=one, texts=texts, split=split, family=families.family[question.id])


def _proposed(texts: RowTexts, proposal: Proposal, *, is_pair: bool) -> RowTexts:
    """Return the row of next questions, with what the model was told when it proposed them."""
    rejected = write_questions(proposal.rejected) if is_pair else None
    return replace(
        texts,
        theme=proposal.theme,
        move=proposal.move,
        asked_language=proposal.language,
        answer=proposal.answer,
        reasoning=proposal.reasoning,
        questions=write_questions(proposal.chosen),
        rejected_questions=rejected,
    )


def _words(
    session: Session, column: InstrumentedAttribute[str], ids: Collection[int]
) -> dict[int | None, str]:
    table: Any = column.class_
    found: dict[int | None, str] = {}
    for some in chunks(sorted(ids)):
        for text_id, text in session.execute(select(table.id, column).where(table.id.in_(some))):
            found[text_id] = text
    return found


def _rows(kept: Sequence[Draft], rules: Rules) -> list[BuiltRow]:
    """Return the rows of examples, in an order that depends on their words alone."""
    splits_in_two = isinstance(rules, DemonstrationRules) and rules.passes == "two"
    rows: dict[str, BuiltRow] = {}
    for draft in kept:
        for target, texts in _passes(draft, splits_in_two=splits_in_two):
            learned = {"target": target, "label": draft.candidate.label, **texts.payload()}
            key = json_hash(learned)
            row = BuiltRow(
                key=key[:KEY_DIGITS],
                split=draft.split,
                target=target,
                candidate=draft.candidate,
                texts=texts,
            )
            rows.setdefault(key, row)
    return [row for _, row in sorted(rows.items())]


def _passes(draft: Draft, *, splits_in_two: bool) -> list[tuple[Target, RowTexts]]:
    target, texts = draft.candidate.target, draft.texts
    if target == "whole" and splits_in_two:
        return [("reasoning", replace(texts, answer=None)), ("answer", texts)]
    return [(target, texts)]


def _counted(counter: Counter[str]) -> dict[str, int]:
    return {name: n for name, n in counter.most_common() if n}
