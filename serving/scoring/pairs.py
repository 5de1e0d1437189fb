"""What is scored together: the answers and the reasonings of one question at one level.

A level is a prompt format, a role, a model and, of sampled answers, one set of parameters: answers
that were drawn differently are never put together.
"""

import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError
from db.models import find_model
from db.sweeps import get_sweep
from db.texts.inputs import QuestionText, question_texts
from db.texts.scores import (
    CONTROL_KINDS,
    AnswerText,
    ControlKind,
    NewControl,
    Score,
    ScoreKey,
    ScoreScope,
    add_controls,
    find_foreign,
    find_format,
    find_scores,
    newest_roles,
    read_answers,
    read_controls,
)
from serving.checks.text import split_sentences
from serving.scoring.spec import ScoreSpec
from serving.sweeps.expand import Reasoning
from serving.words import letters_of

FOREIGN_POOL = 200
"""Reasonings of other questions to choose from where the scope itself has none."""


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer to be scored."""

    answer_id: int
    text: str
    own: int
    """Place of the reasoning that it was written under among those of its group."""
    is_ended: bool
    is_separate: bool = False
    """A model wrote it under its reasoning, not in one pass with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGroup:
    """One question with a format, a role and a model that scores."""

    question: QuestionText
    format_id: int
    role_id: int
    model_id: int
    sampling_id: int | None = None
    """Of the parameters that the answers were drawn with; None for those of people."""
    reasonings: tuple[Reasoning, ...]
    """Different ones; equal texts count once."""
    answers: tuple[ScoredAnswer, ...]
    controls: Mapping[ControlKind, tuple[Reasoning | None, ...]]
    """One for each reasoning, in their order; None where there is none yet."""

    def key(self, answer: ScoredAnswer, under: Reasoning | None, *, withheld: bool) -> ScoreKey:
        """Return what the score of ``answer`` under ``under`` is stored by."""
        return ScoreKey(
            answer.answer_id,
            under.variant_id if under else None,
            self.format_id,
            self.role_id,
            self.model_id,
            withheld,
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """One score that is wanted."""

    group: AnswerGroup
    answer: ScoredAnswer
    under: Reasoning | None
    withheld: bool

    @property
    def key(self) -> ScoreKey:
        """What it is stored by."""
        return self.group.key(self.answer, self.under, withheld=self.withheld)


def read_groups(session: Session, spec: ScoreSpec) -> list[AnswerGroup]:
    """Return what ``spec`` means, with the controls that there are already.

    Raises:
        UsageError: It names a sweep, model, role or format that is not there.
    """
    scope, level = _resolved(session, spec)
    answers = read_answers(session, scope, spec.most_questions)
    ids = list(dict.fromkeys(answer.question_id for answer in answers))[: spec.most_questions]
    questions = {one.id: one for part in chunks(ids) for one in question_texts(session, part)}
    grouped: defaultdict[_GroupKey, list[AnswerText]] = defaultdict(list)
    for answer in answers:
        if answer.question_id not in questions:
            continue
        at = level.of(answer, questions[answer.question_id])
        grouped[_GroupKey(answer.question_id, *at, answer.sampling_id)].append(answer)
    groups = []
    for key, own in grouped.items():
        reasonings, chosen = _chosen(own, spec)
        groups.append(
            AnswerGroup(
                question=questions[key.question_id],
                format_id=key.format_id,
                role_id=key.role_id,
                model_id=key.model_id,
                sampling_id=key.sampling_id,
                reasonings=reasonings,
                answers=chosen,
                controls={},
            )
        )
    return with_controls(session, groups)


def with_controls(session: Session, groups: Sequence[AnswerGroup]) -> list[AnswerGroup]:
    """Return ``groups`` with the controls that are stored now."""
    ids = [one.variant_id for group in groups for one in group.reasonings]
    stored = read_controls(session, ids)

    def control(variant_id: int, kind: ControlKind) -> Reasoning | None:
        found = stored.get((variant_id, kind))
        return Reasoning(*found) if found else None

    return [
        replace(
            group,
            controls={
                kind: tuple(control(one.variant_id, kind) for one in group.reasonings)
                for kind in CONTROL_KINDS
            },
        )
        for group in groups
    ]


def make_controls(session: Session, groups: Sequence[AnswerGroup]) -> None:
    """Write the controls that the reasonings of ``groups`` still lack."""
    lacking = {
        (one.variant_id, kind): (group, one)
        for group in groups
        for kind in CONTROL_KINDS
        for one, has in zip(group.reasonings, group.controls[kind], strict=True)
        if has is None
    }
    foreign = _foreign_for(
        session, groups, [found for key, found in lacking.items() if key[1] == "foreign"]
    )
    new = []
    for (variant_id, kind), (group, one) in lacking.items():
        copied_from = None
        if kind == "foreign":
            if variant_id not in foreign:
                continue
            copied_from, text = foreign[variant_id]
        else:
            text = shuffled(one.text) if kind == "shuffled" else truncated(one.text)
        new.append(
            NewControl(
                question_id=group.question.id,
                kind=kind,
                text=text,
                stands_for=variant_id,
                copied_from=copied_from,
            )
        )
    add_controls(session, new)


def _foreign_for(
    session: Session,
    groups: Sequence[AnswerGroup],
    wanting: Sequence[tuple[AnswerGroup, Reasoning]],
) -> dict[int, tuple[int, str]]:
    """Return id and text of a foreign reasoning for each that wants one, if there are any."""
    if not wanting:
        return {}
    by_question: defaultdict[int, list[int]] = defaultdict(list)
    for group, one in wanting:
        by_question[group.question.id].append(one.variant_id)
    pool = {
        one.variant_id: (group.question.id, one.variant_id, one.text)
        for group in groups
        for one in group.reasonings
    }
    questions = {group.question.id for group in groups}
    if len(questions) == 1:
        pool |= {row[1]: row for row in find_foreign(session, list(questions), FOREIGN_POOL)}
    return pair_foreign(by_question, list(pool.values()))


def pairs_of(group: AnswerGroup, spec: ScoreSpec) -> Iterator[Pair]:
    """Yield all scores that ``spec`` wants of ``group``."""
    under: list[Reasoning] = list(group.reasonings) if len(group.reasonings) > 1 else []
    if spec.controls and under:
        under += [one for kind in CONTROL_KINDS for one in group.controls[kind] if one]
    for answer in group.answers:
        yield from (Pair(group, answer, one, withheld=False) for one in under)
        if spec.leak:
            yield Pair(group, answer, None, withheld=True)
            yield Pair(group, answer, group.reasonings[answer.own], withheld=True)
            foreign = group.controls["foreign"][answer.own]
            if foreign:
                yield Pair(group, answer, foreign, withheld=True)


def count_unmade(groups: Sequence[AnswerGroup], spec: ScoreSpec) -> int:
    """Return how many more pairs there will be once the controls of ``groups`` are made."""
    has_foreign = len({group.question.id for group in groups}) > 1
    count = 0
    for group in groups:
        for kind in CONTROL_KINDS if has_foreign else ("shuffled", "truncated"):
            lacking = {place for place, one in enumerate(group.controls[kind]) if one is None}
            if spec.controls and len(group.reasonings) > 1:
                count += len(lacking) * len(group.answers)
            if spec.leak and kind == "foreign":
                count += sum(answer.own in lacking for answer in group.answers)
    return count


def scores_of(session: Session, groups: Sequence[AnswerGroup]) -> dict[ScoreKey, Score]:
    """Return all scores of the answers of ``groups``."""
    return find_scores(
        session, list({answer.answer_id for group in groups for answer in group.answers})
    )


def _chosen(
    answers: Sequence[AnswerText], spec: ScoreSpec
) -> tuple[tuple[Reasoning, ...], tuple[ScoredAnswer, ...]]:
    """Return the first reasonings, each text once, and the first answers under each."""
    places: dict[str, int] = {}
    reasonings: list[Reasoning] = []
    chosen: defaultdict[int, list[ScoredAnswer]] = defaultdict(list)
    for answer in answers:
        place = places.get(answer.variant_hash)
        if place is None:
            if len(reasonings) == spec.most_reasonings:
                continue
            place = places[answer.variant_hash] = len(reasonings)
            reasonings.append(Reasoning(answer.variant_id, answer.variant_text))
        if len(chosen[place]) < spec.most_answers:
            chosen[place].append(
                ScoredAnswer(
                    answer.answer_id,
                    answer.text,
                    place,
                    is_ended=answer.is_ended,
                    is_separate=answer.kind == "answer",
                )
            )
    return tuple(reasonings), tuple(one for place in chosen.values() for one in place)


class _GroupKey(NamedTuple):
    question_id: int
    format_id: int
    role_id: int
    model_id: int
    sampling_id: int | None


@dataclass(frozen=True, slots=True)
class _Level:
    """The format, role and model at which an answer is scored."""

    roles: Mapping[str, int]
    """Name → newest version."""
    format_id: int | None
    """For answers of people; None: what models wrote is scored as it was asked for."""
    model_id: int | None

    def of(self, answer: AnswerText, question: QuestionText) -> tuple[int, int, int]:
        """Return format, role and model."""
        if self.format_id is not None and self.model_id is not None:
            return self.format_id, self.roles[question.role], self.model_id
        assert answer.prompt_format_id is not None
        assert answer.role_id is not None
        assert answer.model_version_id is not None
        return answer.prompt_format_id, answer.role_id, answer.model_version_id


def _resolved(session: Session, spec: ScoreSpec) -> tuple[ScoreScope, _Level]:
    if spec.sweep is not None:
        get_sweep(session, spec.sweep)
    roles = newest_roles(session)
    if spec.role is not None and spec.role not in roles:
        raise UsageError(
            "There is no role {role!r}; there are {roles}.",
            role=spec.role,
            roles=", ".join(sorted(roles)),
        )
    by_people = spec.answers == "people"
    model_id = find_model(session, spec.model).id if spec.model else None
    scope = ScoreScope(
        sweep_id=spec.sweep,
        question_ids=spec.questions,
        role=spec.role,
        model_version_id=None if by_people else model_id,
        by_people=by_people,
    )
    format_id = find_format(session, spec.format) if by_people else None
    return scope, _Level(roles, format_id, model_id)


FEWEST_WORDS = 4
"""A text with fewer words between spaces (as in Japanese) is handled by its characters."""


def shuffled(text: str) -> str:
    """Return the words of ``text`` in another order, the same for the same text."""
    parts, glue = _parts(text)
    order = list(parts)
    drawn = random.Random(zlib.crc32(text.encode()))
    for _ in range(10):
        drawn.shuffle(order)
        if order != parts:
            break
    return glue.join(order)


def truncated(text: str) -> str:
    """Return the first half: of the sentences; of the words where there is only one sentence."""
    sentences = split_sentences(text)
    if len(sentences) > 1:
        half = sentences[: len(sentences) // 2]
        return ("" if _is_spaceless(text) else " ").join(half)
    parts, glue = _parts(text)
    return glue.join(parts[: max(1, len(parts) // 2)])


def pair_foreign(
    wanting: Mapping[int, Sequence[int]], pool: Sequence[tuple[int, int, str]]
) -> dict[int, tuple[int, str]]:
    """Return id and text of a foreign reasoning for each; within a question they differ.

    They repeat only where there are fewer foreign ones than are wanted.

    Args:
        wanting: Question → reasonings that need a foreign one.
        pool: Question, id and text of reasonings to take them from.
    """
    found: dict[int, tuple[int, str]] = {}
    for question_id, variant_ids in wanting.items():
        others = [(one, text) for other, one, text in pool if other != question_id]
        if not others:
            continue
        drawn = random.Random(question_id)
        drawn.shuffle(others)
        for place, variant_id in enumerate(variant_ids):
            found[variant_id] = others[place % len(others)]
    return found


def _parts(text: str) -> tuple[list[str], str]:
    words = text.split()
    return (letters_of("".join(words)), "") if _is_spaceless(text) else (words, " ")


def _is_spaceless(text: str) -> bool:
    return len(text.split()) < FEWEST_WORDS
