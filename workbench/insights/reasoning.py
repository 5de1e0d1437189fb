"""Does the reasoning move the answer? All that the scores of a spec say, level by level."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.rating.columns import read_samplings
from db.sweeps import group_reasons
from db.tables import ModelVersion, PromptFormat, Role
from db.texts.scores import CONTROL_KINDS, Score
from serving.engine.messages import NEUTRAL
from serving.scoring.pairs import AnswerGroup, count_unmade, pairs_of, read_groups, scores_of
from serving.scoring.spec import ScoreSpec
from workbench.insights.reasoning_verdict import (
    Lack,
    ReasoningJudgement,
    ReasoningVerdict,
    informative,
    judge,
    judge_per_token,
)
from workbench.stats.comparisons import sampling_names
from workbench.stats.influence import (
    OWN,
    BetweenWithin,
    Bits,
    Known,
    LeakOfAnswer,
    Leaks,
    Scored,
    ScoreKind,
    between_within,
    by_level,
    distances,
    leaks,
    margin,
    margins_of,
    scored_questions,
    summary,
)
from workbench.stats.intervals import Estimate

MOST_DISTANCES = 200
"""Questions whose answers are compared by their words: the first ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReport:
    """One model, role, prompt format and sampling over its questions."""

    model: str
    role: str
    format: str
    sampling: str | None
    """The parameters that answers were drawn with, e.g. ``temperature 1``; None where people wrote
    them."""
    sampling_id: int | None
    n_questions: int
    """With at least two different reasonings that have answers."""
    n_scored: int
    """Of these, all of whose answers have a score under every reasoning."""
    n_different: int
    """Scored questions whose reasonings really differ, by their wording."""
    n_as_scored: int
    """Scored questions whose answers were drawn from what scores them."""
    n_reasonings: int
    n_answers: int
    limit: float
    """The most bits that there can be: the mean of log2(k) over the scored questions."""
    scores: dict[str, Bits] = field(default_factory=dict)
    """By ``own``, ``shuffled``, ``truncated`` and ``foreign``; what is not scored is missing."""
    margins: dict[str, Estimate] = field(default_factory=dict)
    """By how many bits ``own`` exceeds each control."""
    question_ids: tuple[int, ...] = ()
    """Questions of ``scores["own"].by_question``, in that order."""
    verdict: ReasoningVerdict = "unclear"
    missing: tuple[Lack, ...] = ()
    """What is missing for a verdict."""
    at_most: float | None = None
    """Bits that reasonings surely do not exceed (95 %); None where no question can tell."""
    per_token: ReasoningJudgement = field(default_factory=ReasoningJudgement)
    """What bits a token say, which may be something else."""
    leak: Leaks | None = None
    distance: BetweenWithin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningReport:
    """What is known of the scope of one spec."""

    levels: tuple[LevelReport, ...]
    pairs: int
    """Scores that the spec wants, also under controls that are still to be made."""
    scored: int
    failed: int
    """Pairs that could not be scored."""
    errors: tuple[tuple[str, int], ...] = ()
    """Why, and how often, the most frequent first."""

    @property
    def missing(self) -> int:
        """Pairs that another run would score."""
        return self.pairs - self.scored - self.failed


def read_reasoning_report(session: Session, spec: ScoreSpec) -> ReasoningReport:
    """Compute everything from the store; nothing is written.

    Raises:
        UsageError: ``spec`` names something that is not there.
    """
    groups = read_groups(session, spec)
    known = scores_of(session, groups)
    wanted = {pair.key for group in groups for pair in pairs_of(group, spec)}
    states = [known[key] for key in wanted if key in known]
    errors: defaultdict[str, int] = defaultdict(int)
    for state in states:
        if state.error is not None:
            errors[state.error] += 1
    names = _Names(session, {group.sampling_id for group in groups})
    return ReasoningReport(
        levels=tuple(_level(own, known, names) for own in by_level(groups)),
        pairs=len(wanted) + count_unmade(groups, spec),
        scored=len(states) - sum(errors.values()),
        failed=sum(errors.values()),
        errors=tuple((one.error, one.n) for one in group_reasons(errors.items())),
    )


def _level(groups: Sequence[AnswerGroup], known: Known, names: "_Names") -> LevelReport:
    several = [group for group in groups if len(group.reasonings) > 1]
    is_unmodified = names.is_unmodified(groups[0].sampling_id)
    kinds: tuple[ScoreKind, ...] = (OWN, *CONTROL_KINDS)
    by_kind: dict[str, dict[int, Scored]] = {
        kind: scored_questions(several, known, kind, is_unmodified=is_unmodified) for kind in kinds
    }
    scores = {kind: summary(list(own.values())) for kind, own in by_kind.items() if own}
    scored = list(by_kind[OWN].values())
    limit = float(np.mean([one.limit for one in scored])) if scored else 0.0
    bits = {
        kind: dict(zip(by_kind[kind], found.by_question, strict=True))
        for kind, found in scores.items()
    }
    margins: dict[str, Estimate] = {
        kind: found
        for kind in CONTROL_KINDS
        if kind in bits and OWN in bits and (found := margin(bits[OWN], bits[kind], limit))
    }
    able = informative(scored)
    report = LevelReport(
        **names.of(groups[0]),
        n_questions=len(several),
        n_scored=len(scored),
        n_different=able.n_different,
        n_as_scored=able.n_as_scored,
        n_reasonings=sum(len(group.reasonings) for group in several),
        n_answers=sum(len(group.answers) for group in several),
        limit=limit,
        scores=scores,
        margins=margins,
        question_ids=tuple(by_kind[OWN]),
        leak=leaks(_leaks(groups, known)),
        distance=_distance(several),
    )
    if not scored:
        return report
    differences = {kind: margins_of(bits[OWN], bits[kind]) for kind in margins}
    judgement = judge(scored, scores[OWN], margins, limit, differences)
    return replace(
        report,
        verdict=judgement.verdict,
        missing=judgement.missing,
        at_most=judgement.at_most,
        per_token=judge_per_token(scored, scores[OWN], margins),
    )


def _leaks(groups: Sequence[AnswerGroup], known: Known) -> list[LeakOfAnswer]:
    found = []
    for group in groups:
        for answer in group.answers:
            own, foreign = group.reasonings[answer.own], group.controls["foreign"][answer.own]
            if foreign is None:
                continue
            under = [
                known.get(group.key(answer, one, withheld=True)) for one in (own, foreign, None)
            ]
            rates = [_rate(one) for one in under]
            if rates[0] is not None and rates[1] is not None and rates[2] is not None:
                found.append(
                    LeakOfAnswer(
                        group.question.id,
                        own.variant_id,
                        answer.answer_id,
                        own=rates[0] - rates[2],
                        foreign=rates[1] - rates[2],
                    )
                )
    return found


def _rate(score: Score | None) -> float | None:
    """Return log2 of the probability for each token."""
    if score is None or score.log_prob is None or not score.n_tokens:
        return None
    return float(score.log_prob / np.log(2) / score.n_tokens)


def _distance(groups: Sequence[AnswerGroup]) -> BetweenWithin | None:
    found = [
        distances([one.text for one in group.answers], [one.own for one in group.answers])
        for group in groups[:MOST_DISTANCES]
    ]
    known = [one for one in found if one is not None]
    return between_within(known) if known else None


class _Names:
    """What people call models, roles, formats and the sampling of answers."""

    def __init__(self, session: Session, sampling_ids: Collection[int | None]) -> None:
        models = session.execute(select(ModelVersion.id, ModelVersion.name))
        self._models = {row[0]: row[1] for row in models}
        roles = session.execute(select(Role.id, Role.name))
        self._roles = {row[0]: row[1] for row in roles}
        formats = session.execute(select(PromptFormat.id, PromptFormat.name, PromptFormat.version))
        self._formats = {row[0]: f"{row[1]}@{row[2]}" for row in formats}
        samplings = read_samplings(session)
        self._parameters = {id: samplings[id] for id in sampling_ids if id is not None}
        self._samplings = sampling_names(self._parameters)

    def of(self, group: AnswerGroup) -> dict[str, Any]:
        """Return the names of the level of ``group``."""
        return {
            "model": self._models[group.model_id],
            "role": self._roles[group.role_id],
            "format": self._formats[group.format_id],
            "sampling": None if group.sampling_id is None else self._sampling(group.sampling_id),
            "sampling_id": group.sampling_id,
        }

    def is_unmodified(self, sampling_id: int | None) -> bool:
        """Tell whether tokens were drawn from just what scores them."""
        if sampling_id is None:
            return False
        parameters = self._parameters[sampling_id]
        return all(parameters.get(name) == value for name, value in NEUTRAL.items())

    def _sampling(self, sampling_id: int) -> str:
        """Name the temperature, what else is not neutral, and in what levels differ."""
        parameters = self._parameters[sampling_id]
        differing = {one.split(" ")[0] for one in self._samplings[sampling_id].split(" · ")}
        shown = {"temperature": parameters.get("temperature")} | {
            name: value
            for name, value in parameters.items()
            if name in differing or value != NEUTRAL.get(name, value)
        }
        return " · ".join(
            f"{name} {value:g}" if isinstance(value, float | int) else f"{name} –"
            for name, value in shown.items()
        )
