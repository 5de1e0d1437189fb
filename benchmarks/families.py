"""How well rewordings are told from near misses where families are held out, and how fast.

    python -m benchmarks.families [OUT.json] [--sizes 10000 100000]

The pairs are ``tests/unit/data/question_pairs.tsv``. The development half chose the threshold and
the words of ``serving/similarity``; the held-back half had no part in it, and the further pairs
were written by somebody else afterwards. Times are of a processor
core, on made-up questions of which one in a hundred is reworded (seed 3).
"""

import argparse
import csv
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.setting import note, write_result
from serving.similarity.families import question_groups

OUT = Path(__file__).parent / "results" / "families.json"
PAIRS = Path(__file__).parents[1] / "tests" / "unit" / "data" / "question_pairs.tsv"
LANGUAGES: Final = ("en", "ja", "zh")
HALVES: Final = ("development", "held_back", "further")
_FORMS: Final = (
    "How does {} affect {} in a {} {}?",
    "Why do {} {} need {} {}?",
    "What is the {} of {} {} under {}?",
    "Which {} helps {} when {} meets {}?",
)


def main() -> None:
    """Measure both halves and the times, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    given = parser.parse_args()
    result = {half: shares(half) for half in HALVES}
    write_result(given.out, {**result, "timing": [timing(size) for size in given.sizes]})


def shares(half: str) -> dict[str, dict[str, float]]:
    """Return the shares of rewordings found and of near misses merged, by language."""
    found: dict[tuple[str, str], list[bool]] = {}
    with PAIRS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["half"] == half:
                is_one = len(question_groups([row["a"], row["b"]])) == 1
                found.setdefault((row["language"], row["label"]), []).append(is_one)
    return {
        language: {
            "reworded_found": round(float(np.mean(found[language, "reworded"])), 3),
            "near_merged": round(float(np.mean(found[language, "near"])), 3),
            "n_reworded": len(found[language, "reworded"]),
            "n_near": len(found[language, "near"]),
        }
        for language in LANGUAGES
    }


def timing(size: int) -> dict[str, Any]:
    """Return how long it takes to find the groups of so many questions."""
    texts = made_up(size)
    began = time.process_time()
    groups = question_groups(texts)
    seconds = time.process_time() - began
    note(f"{len(texts)} questions: {len(groups)} groups, {seconds:.1f} s")
    return {"questions": len(texts), "groups": len(groups), "core_seconds": round(seconds, 1)}


def made_up(size: int) -> Sequence[str]:
    """Return ``size`` questions in words of Zipf's frequencies, and one in a hundred reworded."""
    draw = random.Random(3)
    words = [
        "".join(draw.choice("bcdfghjklmnprstvw") + draw.choice("aeiou") for _ in range(length))
        for length in draw.choices(range(2, 5), k=20_000)
    ]
    shares = 1 / np.arange(1, len(words) + 1) ** 0.8
    drawn = np.random.default_rng(3).choice(len(words), (size, 4), p=shares / shares.sum())
    asked = [
        _FORMS[place % len(_FORMS)].format(*(words[word] for word in row))
        for place, row in enumerate(drawn)
    ]
    return asked + [text.replace("How does", "In what way does") + "!" for text in asked[::100]]


if __name__ == "__main__":
    main()
