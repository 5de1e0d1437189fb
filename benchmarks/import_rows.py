"""What an import of very many rows costs, and how long raters wait for the store meanwhile.

    python -m benchmarks.import_rows [OUT.json] [--rows 1000000] [--texts | --training] [--raters 8]

The import runs in a process of its own, whose CPU time and largest memory are its own. Meanwhile
the raters of another process rate, each twice a second: a wait is the time from asking for the
write lock to the commit of a rating. ``--texts`` gives each row a reasoning and an answer;
``--training`` also imports them as ``q2q dataset import`` does.
"""

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.setting import new_store, note, write_result
from db.database import open_database
from db.questions import NewQuestion, add_question
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater
from serving.formats.library import load_definitions, sync_definitions
from serving.importers.folders import read_examples
from serving.importers.questions import import_questions
from serving.importers.readers import stream_rows
from serving.importers.training_data import Judge, import_examples

OUT: Final = Path(__file__).parent / "results" / "import_rows.json"
EVERY_S: Final = 0.5
"""A rater rates so often."""
N_RATED: Final = 200
"""Questions that are there before, to be rated."""
_CONSONANTS: Final = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "st",
    "tr",
    "pl",
]
_ENDS: Final = ["a", "e", "i", "o", "u", "an", "en", "in", "on", "ar", "er", "or"]


def main() -> None:
    """Measure once and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--raters", type=int, default=8)
    parser.add_argument("--texts", dest="kind", action="store_const", const="texts")
    parser.add_argument("--training", dest="kind", action="store_const", const="training")
    given = parser.parse_args()
    write_result(given.out, measured(given.rows, given.raters, given.kind))


def measured(n_rows: int, n_raters: int, kind: str | None) -> dict[str, Any]:
    """Return the cost of an import and the waits of the raters."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        write_rows(file, n_rows, has_texts=kind is not None)
        database = new_store(None, Path(folder))
        with database.write() as session:
            for number in range(N_RATED):
                add_question(session, NewQuestion(text=f"Rated question {number}?"))
        url = str(database.engine.url)
        database.close()
        note(f"{n_rows} rows, {file.stat().st_size / 1e6:.0f} MB")
        alone = waits_of(url, n_raters, seconds=10.0)
        found = imported(url, file, n_raters, is_training=kind == "training")
    return {
        "rows": n_rows,
        "with_reasoning_and_answer": kind is not None,
        "as_training_data": kind == "training",
        "raters": n_raters,
        "waits_without_import_ms": spread_of(alone),
        **found,
    }


def imported(url: str, file: Path, n_raters: int, *, is_training: bool) -> dict[str, Any]:
    """Import ``file`` in a process of its own while raters rate."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    importer = context.Process(target=run_import, args=(url, file, is_training, there))
    with rated(url, n_raters) as waits:
        importer.start()
        found: dict[str, Any] = here.recv()
        importer.join()
    return found | {"ratings": len(waits), "waits_ms": spread_of(waits)}


def run_import(url: str, file: Path, is_training: bool, result: Connection) -> None:
    """Import and send what it cost."""
    since = {"start": time.monotonic()}
    told = [time.monotonic()]
    phases: dict[str, float] = {}

    def tell(phase: str, done: int, total: int) -> None:
        told.append(time.monotonic())
        since.setdefault(phase, told[-1])
        phases[phase] = told[-1] - since[phase]

    database = open_database(url)
    if is_training:
        with database.write() as session:
            files = read_examples(file, sync_definitions(session, load_definitions()))
        added = import_examples(database, files, judge=Judge(), on_progress=tell).counts.questions
    else:
        added = import_questions(database, stream_rows(file), on_progress=tell).added
    database.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    result.send(
        {
            "added": added,
            "cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "wall_s": round(time.monotonic() - since["start"], 1),
            "peak_memory_mb": round(used.ru_maxrss / 1e3),
            "wall_by_phase_s": {name: round(seconds, 1) for name, seconds in phases.items()},
            "longest_without_progress_s": round(float(np.max(np.diff(told))), 2),
        }
    )


def waits_of(url: str, n_raters: int, seconds: float) -> list[float]:
    """Return how long raters wait while nothing else goes on."""
    with rated(url, n_raters) as waits:
        time.sleep(seconds)
    return waits


@contextmanager
def rated(url: str, n_raters: int) -> Iterator[list[float]]:
    """Let raters rate meanwhile; yield what becomes the list of their waits, in seconds."""
    stop = threading.Event()
    waits: list[float] = []
    raters = [
        threading.Thread(target=rate, args=(url, number, stop, waits)) for number in range(n_raters)
    ]
    for rater in raters:
        rater.start()
    try:
        yield waits
    finally:
        stop.set()
        for rater in raters:
            rater.join()


def rate(url: str, number: int, stop: threading.Event, waits: list[float]) -> None:
    """Rate twice a second until ``stop``; add how long each rating took to be stored."""
    database = open_database(url)
    with database.write() as session:
        rater_id = ensure_rater(session, f"Rater {number}")
    drawn = random.Random(number)
    due = time.monotonic() + drawn.uniform(0, EVERY_S)
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + EVERY_S, time.monotonic())
        rating = NewRating(
            rater_id=rater_id,
            scope="question",
            target=Target(question_id=drawn.randint(1, N_RATED)),
            axis="overall",
            value=3.0,
            blind=True,
            card_id=f"bench-{number}-{time.monotonic_ns()}",
        )
        begun = time.monotonic()
        with database.write() as session:
            add_ratings(session, [rating])
        waits.append(time.monotonic() - begun)
    database.close()


def spread_of(waits: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    shares = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {
        name: round(1e3 * float(np.percentile(waits, share)), 1) for name, share in shares.items()
    }


def write_rows(file: Path, n_rows: int, *, has_texts: bool) -> None:
    """Write questions of made-up words, in JSON lines."""
    drawn = random.Random(1)
    syllables = [first + end for first in _CONSONANTS for end in _ENDS]
    words = ["".join(drawn.choices(syllables, k=drawn.choice((1, 2, 2, 3)))) for _ in range(30_000)]

    def some(count: int) -> str:
        return " ".join(drawn.choices(words, k=count))

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(n_rows):
            row: dict[str, Any] = {"instruction": f"Question {number}: {some(12)}?"}
            row |= {"language": "en", "tags": ["benchmark"]}
            if has_texts:
                row["reasoning"] = f"You should name {some(2)} first. You should say {some(8)}."
                row["output"] = f"{some(25).capitalize()}. It is {some(4)}."
            yield row

    with file.open("w", encoding="utf-8") as written:
        for row in rows():
            written.write(f"{json.dumps(row)}\n")


if __name__ == "__main__":
    main()
