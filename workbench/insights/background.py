"""Figures that take seconds, computed in the background; the last ones are shown at once.

A child process computes them, so that no page waits and no press of a rater is slowed. They are
cached like counts, and as JSON under ``cache/figures`` of the home too: one file for each thing
that was asked of a store, with the mark of the ratings that they are of and the time; a restart
finds them again.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from db import counts
from db.child_process import run_child, serve
from db.identity import json_hash
from db.rating.columns import RatingFilter
from db.settings import settings
from db.store.migrate import open_store
from db.tables import utc_now
from serving.scoring.spec import ScoreSpec

FigureKind = Literal["insights", "moves", "accuracy"]
FORM: Final = 5
"""Of the files; another number is as good as no file."""
NICENESS: Final = 5
REST_S: Final = 30.0
"""Figures are not computed anew while they are younger: people rate every few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedFigures:
    """What is known of the figures asked for."""

    figures: Any | None
    """The last ones; None where they are computed for the first time."""
    mark: str | None
    """Of what they were computed from."""
    made_at: datetime | None
    is_computing: bool = False
    """Newer ones are on their way."""
    error: str | None = None
    """Why newer ones did not come."""


NOTHING: Final = CachedFigures(figures=None, mark=None, made_at=None)


def background_figures(kind: FigureKind, store: str, asked: str, mark: str) -> CachedFigures:
    """Return the last figures; where they are not those of ``mark``, have newer ones computed.

    Args:
        kind: Which figures.
        store: Name of the store; figures of different stores are kept apart.
        asked: What they are of, as JSON.
        mark: Changes with all that they depend on.
    """
    name = json_hash({"kind": kind, "store": store, "asked": asked})
    path = settings().home_dir / "cache" / "figures" / f"{name}.json"
    found = counts.cached(path) or _read(kind, path) or NOTHING
    if found.mark == mark or _is_young(found):
        return found
    computing = counts.start(path, mark, lambda: _compute_in_child(kind, asked, mark, path))
    if not computing.done():
        return replace(found, is_computing=True)
    if error := computing.exception():
        return replace(found, error=str(error))
    return computing.result()


def _compute_in_child(kind: FigureKind, asked: str, mark: str, path: Path) -> CachedFigures:
    """Compute figures, and write their file whole or not at all."""
    result = asyncio.run(
        run_child(
            [sys.executable, "-m", "workbench.insights.background"],
            {"kind": kind, "asked": asked},
            log=path.with_suffix(".log"),
            on_message=lambda message: None,
            cancelled=None,
            env={"Q2Q_HOME": str(settings().home_dir)},
        )
    )
    made_at = utc_now()
    value = {"form": FORM, "mark": mark, "made_at": made_at.isoformat(), **result}
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(value), "utf-8")
    scratch.replace(path)
    figures = _form(kind).validate_python(result["figures"], strict=False)
    return CachedFigures(figures=figures, mark=mark, made_at=made_at)


def _is_young(found: CachedFigures) -> bool:
    if found.made_at is None:
        return False
    return 0 <= (utc_now() - found.made_at).total_seconds() < REST_S  # a clock may be set back


def _read(kind: FigureKind, path: Path) -> CachedFigures | None:
    try:
        stored = json.loads(path.read_bytes())
        if stored["form"] != FORM:
            return None
        return CachedFigures(
            figures=_form(kind).validate_python(stored["figures"], strict=False),
            mark=stored["mark"],
            made_at=datetime.fromisoformat(stored["made_at"]),
        )
    except (OSError, ValueError, KeyError, ValidationError):
        return None  # there is none, or it is of another version: it is computed anew


@cache
def _form(kind: FigureKind) -> TypeAdapter[Any]:
    return TypeAdapter(_kind(kind)[0])


def _kind(kind: FigureKind) -> tuple[type, Callable[[Session, str], Any]]:
    """Return the class of figures, and what computes them; loaded when somebody asks for them."""
    if kind == "insights":
        from workbench.insights.report import Insights, read_insights

        wanted = TypeAdapter(RatingFilter)
        return Insights, lambda session, asked: read_insights(session, wanted.validate_json(asked))
    if kind == "accuracy":
        from workbench.insights.correctness import AccuracyReport, read_accuracy

        return AccuracyReport, lambda session, asked: read_accuracy(session, json.loads(asked))
    from workbench.insights.reasoning import ReasoningReport, read_reasoning_report

    return ReasoningReport, lambda session, asked: read_reasoning_report(
        session, ScoreSpec.model_validate_json(asked)
    )


def compute(spec: dict[str, Any]) -> dict[str, Any]:
    """Compute the figures of ``kind`` that were ``asked`` for, from the store of the settings."""
    os.nice(NICENESS)
    kind: FigureKind = spec["kind"]
    database = open_store(settings())
    with database.read() as session:
        figures = _kind(kind)[1](session, spec["asked"])
    database.close()
    return {"figures": _form(kind).dump_python(figures, mode="python")}


if __name__ == "__main__":
    sys.exit(serve(compute))
