"""A comparison of models as one HTML page: no script, no remote file, every text escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from workbench.analysis.resampling import FEW_QUESTIONS, Estimate
from workbench.analysis.round_texts import Written, read_written
from workbench.analysis.rounds import MEASURES, SHARES, Change, Comparison, ModelFigures

TEMPLATES = Path(__file__).parent
MOST_EXAMPLES = 12
"""Questions whose texts are shown side by side."""
TITLES = {
    "well_formed": "Well-formed in one pass",
    "stopped": "Stopped by itself",
    "tokens": "Tokens of a completion",
    "clean": "No finding of any check",
    "dont_know_unanswerable": "“I don't know” where nobody can know",
    "dont_know_answerable": "“I don't know” where there is an answer",
    "reasonings": "Different reasonings of a question",
    "answers": "Different answers to a question",
    "follows": "Answers differ as their reasonings do (correlation)",
    "influence": "Reasoning moves the answer (bits)",
    "held_out_loss": "Held-out loss (nats a token)",
    "answer_leak": "Reasoning gives the answer away",
    "form": "Reasoning not in the asked form",
    "language": "Wrong language",
    "repetition": "Repeats itself",
    "boilerplate": "Sentences used under many questions",
    "cut_off": "Cut off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What the models wrote for one held-out question."""

    question_id: int
    texts: tuple[tuple[str, Written], ...]
    """Name of the model and its first completion."""


def report(
    session: Session,
    comparison: Comparison,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the report of a one-pass sweep as HTML.

    Args:
        session: Of the store.
        comparison: Of the sweep's models.
        title: What the page is called.
        facts: What else is known, such as the dataset and the verdict: name and value.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"figure": figure, "place": place}
    return environment.get_template("round_report.html.jinja").render(
        title=title,
        facts=facts,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        comparison=comparison,
        rows=[(name, TITLES[name], _row(comparison, name)) for name in _measured(comparison)],
        few_questions=comparison.n_questions < FEW_QUESTIONS,
        examples=examples(session, comparison),
        shares=SHARES,
    )


def figure(found: Estimate, measure: str) -> str:
    """Return an estimate as people read it, with its interval."""
    if found.low is None or found.high is None:
        return _number(found.value, measure)
    ends = f"{_number(found.low, measure)} … {_number(found.high, measure)}"
    return f"{_number(found.value, measure)} ({ends})"


def place(value: float) -> str:
    """Return where a share stands on a bar, as a CSS length."""
    return f"{100 * min(1.0, max(0.0, value)):.1f}%"


def examples(session: Session, comparison: Comparison) -> list[Example]:
    """Return the first completion of each model for the first questions."""
    names = {one.model_id: one.model for one in comparison.models}
    first: dict[int, dict[int, Written]] = {}
    for one in sorted(read_written(session, comparison.sweep_id), key=lambda w: not w.is_greedy):
        first.setdefault(one.question_id, {}).setdefault(one.model_id, one)
    return [
        Example(
            question_id=question,
            texts=tuple((names[m], texts[m]) for m in names if m in texts),
        )
        for question, texts in sorted(first.items())[:MOST_EXAMPLES]
    ]


def _measured(comparison: Comparison) -> list[str]:
    known = {figure.measure for model in comparison.models for figure in model.figures}
    return [name for name in MEASURES if name in known]


def _row(
    comparison: Comparison, measure: str
) -> list[tuple[ModelFigures, Estimate | None, Change | None]]:
    found = []
    for model in comparison.models:
        own = next((one.found for one in model.figures if one.measure == measure), None)
        change = next((one for one in model.changes if one.measure == measure), None)
        found.append((model, own, change))
    return found


def _number(value: float, measure: str) -> str:
    return f"{100 * value:.0f} %" if measure in SHARES else f"{value:.2f}"
