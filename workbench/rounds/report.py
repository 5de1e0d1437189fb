"""A comparison of models as one HTML page: no script, no remote file, every text escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from db.datasets import find_dataset
from db.models import get_model
from db.questions import get_questions
from db.rounds import RoundRow, find_round
from db.training import get_run
from workbench.i18n import Language, translate
from workbench.rounds.comparison import (
    MEASURES,
    SHARES,
    Change,
    Comparison,
    Direction,
    ModelFigures,
    compare_round,
)
from workbench.rounds.completions import OnePassOutput, read_outputs
from workbench.rounds.text import (
    SettledLine,
    WinLine,
    figure,
    language_name,
    measure_help,
    measure_label,
    settled_lines,
    verdict_reason,
    win_lines,
)
from workbench.rounds.verdict import VerdictProposal, is_outdated, judge
from workbench.stats.intervals import MIN_QUESTIONS, Estimate

TEMPLATES = Path(__file__).parent
MOST_EXAMPLES = 12
"""Questions whose texts are shown side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What the models wrote for one held-out question."""

    question_id: int
    question: str
    reference: str | None
    texts: tuple[tuple[str, OnePassOutput], ...]
    """Name of the model and its first completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One model in the plot of a measure."""

    model: str
    found: Estimate
    change: Change | None
    way: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One measure of all models on one scale."""

    measure: str
    lines: tuple[Line, ...]
    low: float
    """Value at the left end of the scale."""
    high: float

    def place(self, value: float) -> str:
        """Return where ``value`` stands on the scale, as a CSS length."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.1f}%"


def report(
    session: Session,
    comparison: Comparison,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    settled: Sequence[SettledLine] = (),
    wins: Sequence[WinLine] = (),
    language: Language = "en",
) -> str:
    """Return the report of a one-pass sweep as HTML.

    Args:
        session: Of the store.
        comparison: Of the sweep's models.
        title: What the page is called.
        facts: What else is known, such as the dataset and the verdict: name and value.
        settled: What is known of each measure that decides on a round.
        wins: What its model won, tied and lost by each of them.
        language: Of the page's own words.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"figure": figure}
    return environment.get_template("report.html.j2").render(
        w=partial(translate, language=language),
        language=language,
        language_name=partial(language_name, language=language),
        measure_label=partial(measure_label, language=language),
        measure_help=partial(measure_help, language=language),
        title=title,
        facts=facts,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        comparison=comparison,
        settled=settled,
        wins=wins,
        plots=plots(comparison),
        few_questions=comparison.n_questions < MIN_QUESTIONS,
        examples=examples(session, comparison),
    )


def plots(comparison: Comparison) -> list[Plot]:
    """Return a plot for each measure that tells anything: what is 0 everywhere is left out."""
    found = []
    for measure in MEASURES:
        lines = [line for model in comparison.models if (line := _line(model, measure)) is not None]
        if any(line.found.value for line in lines):
            low, high = _scale(measure, lines)
            found.append(Plot(measure=measure, lines=tuple(lines), low=low, high=high))
    return found


def examples(session: Session, comparison: Comparison) -> list[Example]:
    """Return the first completion of each model for the first questions."""
    names = {one.model_id: one.model for one in comparison.models}
    first: dict[int, dict[int, OnePassOutput]] = {}
    for one in sorted(read_outputs(session, comparison.sweep_id), key=lambda w: not w.is_greedy):
        first.setdefault(one.question_id, {}).setdefault(one.model_id, one)
    shown = sorted(first)[:MOST_EXAMPLES]
    asked = {row.id: row for row in get_questions(session, shown)}
    return [
        Example(
            question_id=question,
            question=asked[question].text,
            reference=asked[question].reference_answer,
            texts=tuple((names[m], first[question][m]) for m in names if m in first[question]),
        )
        for question in shown
    ]


def _line(model: ModelFigures, measure: str) -> Line | None:
    own = next((one.found for one in model.figures if one.measure == measure), None)
    change = next((one for one in model.changes if one.measure == measure), None)
    if own is None:
        return None
    way = change.direction if change else "open"
    return Line(model=model.model, found=own, change=change, way=way)


def _scale(measure: str, lines: Sequence[Line]) -> tuple[float, float]:
    """Return the ends of a plot: 0 to 1 for shares, else 0 and all values with their intervals."""
    if measure in SHARES:
        return 0.0, 1.0
    told = [one.found for one in lines]
    values = [0.0, *(v for one in told for v in (one.value, one.low, one.high) if v is not None)]
    low, high = float(np.min(values)), float(np.max(values))
    return low, high if high > low else low + 1.0


def round_page(session: Session, name: str | int, language: Language = "en") -> str:
    """Return the report of a round as one HTML page.

    Raises:
        UsageError: There is no such round, or it has not been compared yet.
    """
    found = find_round(session, name)
    comparison = compare_round(session, found)
    now = judge(found, comparison)
    facts = [
        (translate(f"round_report.{key}", language), value)
        for key, value in _facts(session, found, now, language)
    ]
    settled = settled_lines(now.findings, language) if now else ()
    title = translate("round_report.title", language, name=found.name)
    return report(
        session,
        comparison,
        title=title,
        facts=facts,
        settled=settled,
        wins=win_lines(comparison, found.merged_model_version_id, language),
        language=language,
    )


def _facts(
    session: Session, found: RoundRow, now: VerdictProposal | None, language: Language
) -> list[tuple[str, str]]:
    def text(key: str, **values: object) -> str:
        return translate(f"round_report.{key}", language, **values)

    facts = [("starts_from", get_model(session, found.starts_from_id).name)]
    if found.dataset_id is not None:
        dataset = find_dataset(session, str(found.dataset_id))
        rows = text("rows", name=dataset.name, n=dataset.n_train, hash=dataset.content_hash)
        facts += [("dataset", rows), ("ratings", str(dataset.counts.get("ratings", 0)))]
    if found.training_run_id is not None:
        run = get_run(session, found.training_run_id)
        preset = run.config.get("preset")
        facts.append(("training", text("run", id=run.id, method=run.method, preset=preset)))
        if (loss := run.summary.get("held_out_loss")) is not None:
            facts.append(("loss", f"{loss:.3f}"))
    if found.merged_model_version_id is not None:
        model = get_model(session, found.merged_model_version_id)
        facts.append(("model", f"{model.name} ({model.digest or 'declared'})"))
    if found.verdict is not None:
        reason = verdict_reason(found.findings, language) if found.findings else found.reason
        verdict = translate(f"verdict.{found.verdict}", language)
        facts.append(("verdict", text("because", verdict=verdict, reason=reason)))
    if now is not None and is_outdated(found, now):
        verdict = translate(f"verdict.{now.verdict}", language)
        reason = verdict_reason(now.findings, language)
        facts.append(("figures_now", text("because", verdict=verdict, reason=reason)))
    return facts + [
        (kind, why)
        for kind in ("not_written", "not_scored")
        for why in (found.findings or {}).get(kind, ())
    ]
