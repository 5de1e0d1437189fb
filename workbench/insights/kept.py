"""Figures that take seconds, computed beside the app and kept: the last ones are shown at once.

A process of its own computes them, so that no page waits and no press of a rater is slowed. They
lie as JSON under ``cache/figures`` of the home, one file for each thing that was asked of a store,
with the mark of the ratings that they are of and the time; a restart finds them again.

    python -m workbench.insights.kept KIND ASKED MARK FILE

computes figures of the store of the settings and writes their file.
"""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from db.identity import json_hash
from db.rating.columns import RatingFilter
from db.settings import settings
from db.tables import utc_now
from serving.scoring.spec import ScoreSpec

FigureKind = Literal["insights", "moves"]
FORM: Final = 5
"""Of the files; another number is as good as no file."""
NICENESS: Final = 5
REST_S: Final = 30.0
"""Figures are not computed anew while they are younger: people rate every few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
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


@dataclass(slots=True)
class _Run:
    """A process that computes, or has computed."""

    process: "subprocess.Popen[bytes]"
    mark: str
    log: Path


NOTHING: Final = Kept(figures=None, mark=None, made_at=None)
_runs: dict[Path, _Run] = {}
_starting = threading.Lock()


def kept_figures(kind: FigureKind, store: str, asked: str, mark: str) -> Kept:
    """Return the last figures; where they are not those of ``mark``, have newer ones computed.

    Args:
        kind: Which figures.
        store: Name of the store; figures of different stores are kept apart.
        asked: What they are of, as JSON.
        mark: Changes with all that they depend on.
    """
    name = json_hash({"kind": kind, "store": store, "asked": asked})
    path = settings().home_dir / "cache" / "figures" / f"{name}.json"
    found = _read(kind, path) or NOTHING
    if found.mark == mark or _is_young(found):
        return found
    with _starting:
        run = _runs.get(path)
        if run is None or (run.process.poll() is not None and run.mark != mark):
            _runs[path] = _start(kind, asked, mark, path)
        elif run.process.poll():
            return replace(found, error=_last_line(run.log))
    return replace(found, is_computing=True)


def main(arguments: list[str]) -> None:
    """Compute figures and write their file, whole or not at all."""
    from db.store.migrate import open_store

    kind, asked, mark, target = arguments
    path = Path(target)
    os.nice(NICENESS)
    database = open_store(settings())
    with database.read() as session:
        figures = _compute(kind, session, asked)
    database.close()
    told = _form(kind).dump_python(figures, mode="python")
    kept = {"form": FORM, "mark": mark, "made_at": utc_now().isoformat(), "figures": told}
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(kept), "utf-8")
    beside.replace(path)


def _compute(kind: str, session: Session, asked: str) -> Any:
    if kind == "insights":
        from workbench.insights.report import read_insights

        return read_insights(session, TypeAdapter(RatingFilter).validate_json(asked))
    from workbench.insights.reasoning import read_reasoning_report

    return read_reasoning_report(session, ScoreSpec.model_validate_json(asked))


@cache
def _form(kind: str) -> TypeAdapter[Any]:
    if kind == "insights":
        from workbench.insights.report import Insights

        return TypeAdapter(Insights)
    from workbench.insights.reasoning import ReasoningReport

    return TypeAdapter(ReasoningReport)


def _start(kind: FigureKind, asked: str, mark: str, path: Path) -> _Run:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.with_suffix(".log")
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.insights.kept", kind, asked, mark, str(path)],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "Q2Q_HOME": str(settings().home_dir)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    return _Run(process, mark, log)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")


def _is_young(found: Kept) -> bool:
    if found.made_at is None:
        return False
    return 0 <= (utc_now() - found.made_at).total_seconds() < REST_S  # a clock may be set back


def _read(kind: FigureKind, path: Path) -> Kept | None:
    try:
        kept = json.loads(path.read_bytes())
        if kept["form"] != FORM:
            return None
        return Kept(
            figures=_form(kind).validate_python(kept["figures"], strict=False),
            mark=kept["mark"],
            made_at=datetime.fromisoformat(kept["made_at"]),
        )
    except (OSError, ValueError, KeyError, ValidationError):
        return None  # there is none, or it is of another version: it is computed anew


if __name__ == "__main__":
    main(sys.argv[1:])
