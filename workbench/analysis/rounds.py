"""Rounds compared on the same held-out questions, in one pass: what changed, with intervals.

Every figure is a mean over questions; intervals resample questions
(``workbench.analysis.resampling``). A change is paired: only questions that both models were asked
count, each with its own difference, so that hard questions cancel out.

- Form (well-formed, stopped, length, findings, "I don't know") is told by the greedy completions
  where there are any, since these are what a user of the model meets; else by all.
- Spread (different reasonings and answers of one question, and whether answers differ as their
  reasonings do) is told by the sampled completions. The number of different texts is the Vendi
  score (``workbench.analysis.diversity``). ``follows`` is the correlation, over all pairs of
  completions of one question, between how far apart the reasonings and the answers are (Mantel's
  statistic, 1967): 0 where answers do not heed their reasonings, 1 where they move together. It
  sees wording, not meaning; ``q2q score`` measures the influence in bits.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from db.errors import UsageError
from workbench.analysis.diversity import likeness, number_of_different
from workbench.analysis.resampling import Estimate, mean
from workbench.analysis.round_texts import Written, read_written, unanswerable

FORM = ("well_formed", "stopped", "tokens", "clean")
FINDINGS = ("answer_leak", "form", "language", "repetition", "boilerplate", "cut_off")
IGNORANCE = ("dont_know_unanswerable", "dont_know_answerable")
SPREAD = ("reasonings", "answers", "follows")
MEASURES = (*FORM, *IGNORANCE, *SPREAD, *FINDINGS)
"""All that is measured, in the order in which it is shown."""
SHARES = frozenset(("well_formed", "stopped", "clean", *IGNORANCE, *FINDINGS))
"""Measures from 0 to 1."""
LOWER_IS_BETTER = frozenset((*FINDINGS, "dont_know_answerable"))
NO_DIRECTION = frozenset(("tokens",))
FEWEST_FOR_FOLLOWS = 3
"""Completions of a question under which there are too few pairs."""

ByQuestion = dict[int, float]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """What one model did with the questions."""

    model_id: int
    model: str
    n_completions: int
    figures: tuple[Figure, ...]
    changes: tuple[Change, ...]
    """From the first model; empty for the first one itself."""
    well_formed_by_language: tuple[tuple[str, Estimate, int], ...]
    """Language, share, questions."""


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

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def compare(session: Session, sweep_id: int, order: Sequence[int] = ()) -> Comparison:
    """Return what the models of a one-pass sweep did, and how they differ from the first.

    Args:
        session: Of the store.
        sweep_id: A sweep with ``one_pass``.
        order: Ids of models, the one to compare with first; others follow by their numbers.

    Raises:
        UsageError: The sweep holds no completion with both parts asked for.
    """
    written = read_written(session, sweep_id)
    if not written:
        raise UsageError(
            f"Sweep {sweep_id} holds no completions in one pass; run one with `one_pass: true`."
        )
    hopeless = unanswerable(session, sorted({one.question_id for one in written}))
    by_model: defaultdict[int, list[Written]] = defaultdict(list)
    for one in written:
        by_model[one.model_id].append(one)
    ordered = [one for one in order if one in by_model]
    ordered += sorted(by_model.keys() - set(ordered))
    measured = {one: measure(by_model[one], hopeless) for one in ordered}
    first = measured[ordered[0]]
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
                well_formed_by_language=_by_language(by_model[one]),
            )
            for one in ordered
        ),
    )


def measure(written: Sequence[Written], hopeless: set[int]) -> dict[str, ByQuestion]:
    """Return each measure by question; a question that a measure says nothing of is left out."""
    greedy = [one for one in written if one.is_greedy] or list(written)
    sampled = [one for one in written if not one.is_greedy]
    found = {
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
    return found | _spread(sampled)


def _has(name: str, one: Written) -> bool:
    return name in one.findings


def _share(written: Sequence[Written], value: Callable[[Written], float]) -> ByQuestion:
    values: defaultdict[int, list[float]] = defaultdict(list)
    for one in written:
        values[one.question_id].append(float(value(one)))
    return {question: sum(each) / len(each) for question, each in values.items()}


def _spread(sampled: Sequence[Written]) -> dict[str, ByQuestion]:
    by_question: defaultdict[int, list[Written]] = defaultdict(list)
    for one in sampled:
        if one.reasoning is not None and one.response is not None:
            by_question[one.question_id].append(one)
    found: dict[str, ByQuestion] = {name: {} for name in SPREAD}
    for question, each in by_question.items():
        if len(each) < 2:
            continue
        reasonings = likeness([one.reasoning or "" for one in each])
        answers = likeness([one.response or "" for one in each])
        found["reasonings"][question] = number_of_different(reasonings)
        found["answers"][question] = number_of_different(answers)
        if len(each) >= FEWEST_FOR_FOLLOWS:
            pairs = list(combinations(range(len(each)), 2))
            apart = np.array([[1 - r[pair] for pair in pairs] for r in (reasonings, answers)])
            if apart.std(axis=1).min() > 1e-9:
                found["follows"][question] = float(np.corrcoef(apart)[0, 1])
    return found


def _bounds(name: str) -> tuple[float, float]:
    return (0.0, 1.0) if name in SHARES else (-1.0, 1.0) if name == "follows" else (0.0, np.inf)


def _figures(measured: dict[str, ByQuestion]) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            measure=name,
            found=mean(np.array(list(measured[name].values())), *_bounds(name)),
            n_questions=len(measured[name]),
        )
        for name in MEASURES
        if measured[name]
    )


def _changes(first: dict[str, ByQuestion], own: dict[str, ByQuestion]) -> tuple[Change, ...]:
    changes = []
    for name in MEASURES:
        both = sorted(first[name].keys() & own[name].keys())
        if both:
            differences = np.array([own[name][q] - first[name][q] for q in both])
            changes.append(Change(measure=name, found=mean(differences), n_questions=len(both)))
    return tuple(changes)


def _by_language(written: Sequence[Written]) -> tuple[tuple[str, Estimate, int], ...]:
    greedy = [one for one in written if one.is_greedy] or list(written)
    found = []
    for language in sorted({one.language for one in greedy}):
        of_it = [one for one in greedy if one.language == language]
        shares = _share(of_it, lambda one: one.problem is None and one.stopped)
        values = np.array(list(shares.values()))
        found.append((language, mean(values, 0.0, 1.0), len(values)))
    return tuple(found)
