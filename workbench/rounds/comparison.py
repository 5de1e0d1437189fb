"""Rounds compared on the same held-out questions, in one pass: what changed, with intervals.

Every figure is a mean over questions; intervals tell what other questions could have said
(``workbench.stats.intervals``). A change is paired: only questions that both models were asked
count, each with its own difference, so that hard questions cancel out
(``workbench.stats.samples``).

- Correctness (answers that their question's check finds correct) and form (well-formed, stopped,
  length, findings, "I don't know") are told by the greedy completions where there are any, since
  these are what a user of the model meets; else by all.
- Spread (different reasonings and answers of one question, and whether answers differ as their
  reasonings do) is told by the sampled completions. The number of different texts is the Vendi
  score (``workbench.stats.diversity``). ``follows`` is the correlation, over all pairs of
  completions of one question, between how far apart the reasonings and the answers are (Mantel's
  statistic, 1967): 0 where answers do not heed their reasonings, 1 where they move together. It
  sees wording, not meaning.
- Scores come from the engine (``workbench.rounds.scoring``): ``influence``, in bits, is how much an
  answer tells of the reasoning it was written under (``workbench.stats.influence``);
  ``held_out_loss``, in nats a token, how well a model knows the held-out rows of the dataset.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import combinations
from typing import Any, Literal

import numpy as np
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.rounds import RoundRow
from serving.checks import CHECKS
from workbench.rounds.completions import ByQuestion, OnePassOutput, read_outputs, unanswerable
from workbench.rounds.head_to_head import HeadToHead, read_head_to_head
from workbench.rounds.scoring import read_scores
from workbench.stats.diversity import number_of_different, similarity
from workbench.stats.intervals import RESOLUTION, Estimate, mean, share
from workbench.stats.samples import PairedSample

FORM = ("well_formed", "stopped", "tokens", "clean")
FINDINGS = tuple(name for name in CHECKS if name != "dont_know")
"""Every check but the one that is told by ``IGNORANCE``."""
IGNORANCE = ("dont_know_unanswerable", "dont_know_answerable")
DIVERSITY = ("reasonings", "answers", "follows")
SCORES = ("influence", "held_out_loss")
CORRECT = "correct"
"""By the checks of the questions, where they have any (``serving.correctness``)."""
MEASURES = (CORRECT, *FORM, *IGNORANCE, *DIVERSITY, *SCORES, *FINDINGS)
"""All that is measured, in the order in which it is shown."""
SHARES = frozenset((CORRECT, "well_formed", "stopped", "clean", *IGNORANCE, *FINDINGS))
"""Measures from 0 to 1."""
LOWER_IS_BETTER = frozenset((*FINDINGS, "dont_know_answerable", "held_out_loss"))
NO_DIRECTION = frozenset(("tokens",))
BOUNDS = {"follows": (-1.0, 1.0), "influence": (-np.inf, np.inf)}
"""Least and greatest value of measures that are no shares and can be less than 0."""
RESOLUTIONS = {"tokens": 1.0, "reasonings": 1.0, "answers": 1.0}
"""The least difference of one question that counts: a token, a text; ``RESOLUTION`` of others."""
FEWEST_FOR_FOLLOWS = 3
"""Completions of a question under which there are too few pairs."""
Direction = Literal["better", "worse", "moved", "open"]
"""``moved``: sure, but neither better nor worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measure of one model."""

    measure: str
    found: Estimate
    n_questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a measure of a model differs from that of the first one, on the questions of both."""

    measure: str
    found: Estimate
    n_questions: int
    sample: PairedSample = field(repr=False)
    """What it is of, for intervals at other levels."""

    @property
    def is_sure(self) -> bool:
        """The interval leaves no room for "no change"."""
        low, high = self.found.low, self.found.high
        return low is not None and high is not None and (low > 0 or high < 0)

    @property
    def is_better(self) -> bool | None:
        """Whether the change is for the better; None where it is not sure, or has no direction."""
        if not self.is_sure or self.measure in NO_DIRECTION:
            return None
        return (self.found.value > 0) != (self.measure in LOWER_IS_BETTER)

    @property
    def direction(self) -> Direction:
        """What the interval says, in the word by which catalogues call it."""
        if self.is_sure and self.measure in NO_DIRECTION:
            return "moved"
        directions: dict[bool | None, Direction] = {True: "better", False: "worse", None: "open"}
        return directions[self.is_better]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLanguage:
    """Well-formed outputs on the questions of one language."""

    language: str
    """ISO 639-1 code; ``?`` where unknown."""
    found: Estimate
    n_questions: int
    change: Change | None
    """From the first model; None for the first one itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """What one model did with the questions."""

    model_id: int
    model: str
    n_completions: int
    figures: tuple[Figure, ...]
    changes: tuple[Change, ...]
    """From the first model; empty for the first one itself."""
    well_formed_by_language: tuple[OfLanguage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Models on the same questions, the one to compare with first."""

    sweep_id: int
    n_questions: int
    n_unanswerable: int
    formats: tuple[str, ...]
    has_greedy: bool
    has_sampled: bool
    models: tuple[ModelFigures, ...]
    duels: tuple[HeadToHead, ...] = ()
    """What raters said of the models, blind."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, without those of single questions."""
        return asdict(self, dict_factory=lambda each: {k: v for k, v in each if k != "sample"})


def compare(
    session: Session,
    sweep_id: int,
    order: Sequence[int] = (),
    *,
    more: Mapping[int, Mapping[str, ByQuestion]] | None = None,
) -> Comparison:
    """Return what the models of a one-pass sweep did, and how they differ from the first.

    Args:
        session: Of the store.
        sweep_id: A sweep with ``one_pass``.
        order: Ids of models, the one to compare with first; others follow by their numbers.
        more: Model → measure → value by question, for measures that the texts do not tell.

    Raises:
        UsageError: The sweep holds no completion with both parts asked for.
    """
    written = read_outputs(session, sweep_id)
    if not written:
        raise UsageError(
            "Sweep {sweep_id} holds no completions in one pass; run one with `one_pass: true`.",
            sweep_id=sweep_id,
        )
    hopeless = unanswerable(session, sorted({one.question_id for one in written}))
    by_model: defaultdict[int, list[OnePassOutput]] = defaultdict(list)
    for one in written:
        by_model[one.model_id].append(one)
    ordered = [one for one in order if one in by_model]
    ordered += sorted(by_model.keys() - set(ordered))
    more = more or {}
    measured = {one: {**measure(by_model[one], hopeless), **more.get(one, {})} for one in ordered}
    first, first_texts = measured[ordered[0]], by_model[ordered[0]]
    return Comparison(
        sweep_id=sweep_id,
        n_questions=len({one.question_id for one in written}),
        n_unanswerable=len(hopeless),
        formats=tuple(sorted({one.format for one in written})),
        has_greedy=any(one.is_greedy for one in written),
        has_sampled=any(not one.is_greedy for one in written),
        models=tuple(
            ModelFigures(
                model_id=one,
                model=by_model[one][0].model,
                n_completions=len(by_model[one]),
                figures=_figures(measured[one]),
                changes=() if one == ordered[0] else _changes(first, measured[one]),
                well_formed_by_language=_by_language(
                    by_model[one], None if one == ordered[0] else first_texts
                ),
            )
            for one in ordered
        ),
        duels=read_head_to_head(session, sweep_id, [by_model[one][0].model for one in ordered]),
    )


def measure(written: Sequence[OnePassOutput], hopeless: set[int]) -> dict[str, ByQuestion]:
    """Return each measure by question; a question that a measure says nothing of is left out."""
    greedy = [one for one in written if one.is_greedy] or list(written)
    sampled = [one for one in written if not one.is_greedy]
    found = {
        CORRECT: _share(greedy, lambda one: one.correct),
        "well_formed": _share(greedy, lambda one: one.problem is None and one.stopped),
        "stopped": _share(greedy, lambda one: one.stopped),
        "tokens": _share(greedy, lambda one: one.n_tokens),
        "clean": _share(greedy, lambda one: not one.findings - {"dont_know"}),
    }
    admits = _share(greedy, lambda one: "dont_know" in one.findings)
    found["dont_know_unanswerable"] = {q: n for q, n in admits.items() if q in hopeless}
    found["dont_know_answerable"] = {q: n for q, n in admits.items() if q not in hopeless}
    for name in FINDINGS:
        found[name] = _share(greedy, partial(_has, name))
    return found | _diversity(sampled)


def _has(name: str, one: OnePassOutput) -> bool:
    return name in one.findings


def _share(
    written: Sequence[OnePassOutput], value: Callable[[OnePassOutput], float | None]
) -> ByQuestion:
    values: defaultdict[int, list[float]] = defaultdict(list)
    for one in written:
        found = value(one)
        if found is not None:
            values[one.question_id].append(float(found))
    return {question: sum(each) / len(each) for question, each in values.items()}


def _diversity(sampled: Sequence[OnePassOutput]) -> dict[str, ByQuestion]:
    by_question: defaultdict[int, list[OnePassOutput]] = defaultdict(list)
    for one in sampled:
        if one.reasoning is not None and one.response is not None:
            by_question[one.question_id].append(one)
    found: dict[str, ByQuestion] = {name: {} for name in DIVERSITY}
    for question, each in by_question.items():
        if len(each) < 2:
            continue
        reasonings = similarity([one.reasoning or "" for one in each])
        answers = similarity([one.response or "" for one in each])
        found["reasonings"][question] = number_of_different(reasonings)
        found["answers"][question] = number_of_different(answers)
        if len(each) >= FEWEST_FOR_FOLLOWS:
            pairs = list(combinations(range(len(each)), 2))
            distances = np.array([[1 - r[pair] for pair in pairs] for r in (reasonings, answers)])
            if distances.std(axis=1).min() > 1e-9:
                found["follows"][question] = float(np.corrcoef(distances)[0, 1])
    return found


def _estimate(measure: str, by_question: ByQuestion) -> Estimate:
    """Return the mean over questions; of shares with at least Wilson's interval.

    Where few questions all say the same by chance, resampling them would show no doubt at all.
    """
    values = np.array(list(by_question.values()))
    if measure in SHARES:
        return share(values, np.ones(len(values)))
    bounds = BOUNDS.get(measure, (0.0, np.inf))
    return mean(values, *bounds, resolution=RESOLUTIONS.get(measure, RESOLUTION))


def _figures(measured: dict[str, ByQuestion]) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            measure=name,
            found=_estimate(name, measured[name]),
            n_questions=len(measured[name]),
        )
        for name in MEASURES
        if measured.get(name)
    )


def _changes(first: dict[str, ByQuestion], own: dict[str, ByQuestion]) -> tuple[Change, ...]:
    changes = [_change(name, first.get(name, {}), own.get(name, {})) for name in MEASURES]
    return tuple(change for change in changes if change is not None)


def _change(measure: str, first: ByQuestion, own: ByQuestion) -> Change | None:
    """Return the paired change; None where no question has both."""
    both = sorted(first.keys() & own.keys())
    if not both:
        return None
    sample = PairedSample(
        before=tuple(first[question] for question in both),
        after=tuple(own[question] for question in both),
        is_share=measure in SHARES,
        resolution=RESOLUTIONS.get(measure, RESOLUTION),
    )
    return Change(measure=measure, found=sample.interval(), n_questions=len(both), sample=sample)


def _by_language(
    written: Sequence[OnePassOutput], first: Sequence[OnePassOutput] | None
) -> tuple[OfLanguage, ...]:
    own, before = _well_formed(written), _well_formed(first or ())
    return tuple(
        OfLanguage(
            language=language,
            found=_estimate("well_formed", shares),
            n_questions=len(shares),
            change=_change("well_formed", before.get(language, {}), shares),
        )
        for language, shares in sorted(own.items())
    )


def _well_formed(written: Sequence[OnePassOutput]) -> dict[str, ByQuestion]:
    """Return the share of well-formed outputs by language and question."""
    by_language: defaultdict[str, list[OnePassOutput]] = defaultdict(list)
    for one in [one for one in written if one.is_greedy] or written:
        by_language[one.language].append(one)
    return {
        language: _share(own, lambda one: one.problem is None and one.stopped)
        for language, own in by_language.items()
    }


def compare_round(session: Session, found: RoundRow) -> Comparison:
    """Return how the models of a round did, the one it starts from first.

    Raises:
        UsageError: It has not asked the held-out questions yet.
    """
    if found.sweep_id is None or found.step not in ("compare", "ended"):
        raise UsageError(
            "Round {found_name!r} is at the step {step}; it can be compared once the"
            " held-out questions have been answered.",
            found_name=found.name,
            step=found.step,
        )
    return compare(
        session, found.sweep_id, [found.starts_from_id], more=read_scores(session, found)
    )
