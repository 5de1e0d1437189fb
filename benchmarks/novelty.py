"""How well the guard of dialogues tells repeats from near misses: precision and recall.

    python -m benchmarks.novelty [OUT.json] [--url http://127.0.0.1:8000/v1 --model NAME]

Without ``--url`` the threshold is that of the workbench (``benchmarks/families.py`` measures it on
pairs that had no part in choosing it). With it, the vectors of an embeddings server are compared
instead, and every second entry of ``examples/novelty/pairs.yaml`` chooses the threshold: the one of
highest F1 with a precision of at least 0.9.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from pydantic import HttpUrl

from benchmarks.setting import note, write_result
from db.settings import Embedder
from workbench.dialogue.embedding import EmbeddingServer
from workbench.dialogue.novelty import REPEAT_FROM, Embed, assess, similarities

OUT = Path(__file__).parent / "results" / "novelty.json"
PAIRS = Path(__file__).parents[1] / "examples" / "novelty" / "pairs.yaml"
LANGUAGES: Final = ("en", "ja", "zh")
LEAST_PRECISION: Final = 0.9
REPEATS: Final = ("reworded", "other_words")
N_EARLIER: Final = 5_000
"""Earlier questions of the timing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two questions, and what they are to each other."""

    language: str
    kind: str
    """``reworded``, ``other_words``, ``near`` or ``unrelated``."""
    similarity: float

    @property
    def is_repeat(self) -> bool:
        """Whether both ask the same."""
        return self.kind in REPEATS


def main() -> None:
    """Choose the threshold on one half, measure on the other, write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--url")
    parser.add_argument("--model", default="")
    given = parser.parse_args()
    embed = _embedder(given.url, given.model) if given.url else None
    write_result(given.out, measured(embed) | {"embedder": given.model or None})


def measured(embed: Embed | None = None) -> dict[str, Any]:
    """Return the threshold and its figures, over all and by language and kind."""
    choosing, testing = pairs(0, embed), pairs(1, embed)
    threshold = best_threshold(choosing) if embed else REPEAT_FROM
    result = {
        "threshold": threshold,
        "pairs_for_choosing": len(choosing),
        "pairs_for_testing": len(testing),
        "choosing": figures(choosing, threshold),
        "testing": figures(testing, threshold),
        "testing_by_language": {
            language: figures([pair for pair in testing if pair.language == language], threshold)
            for language in LANGUAGES
        },
        "timing": None if embed else _timing(),
    }
    note(f"threshold {threshold}: {result['testing']}")
    return result


def pairs(half: int, embed: Embed | None = None) -> list[Pair]:
    """Return the pairs of every second entry, from the first (0) or from the second (1) on."""
    entries = yaml.safe_load(PAIRS.read_text("utf-8"))
    found = []
    for language in LANGUAGES:
        own = [entry for entry in entries if entry["language"] == language][half::2]
        others = [
            (row, kind, text) for row, entry in enumerate(own) for kind, text in _others(entry)
        ]
        alike = similarities(
            [text for _, _, text in others], [entry["question"] for entry in own], embed=embed
        )
        found += [
            Pair(language=language, kind=kind, similarity=float(alike[place, row]))
            for place, (row, kind, _) in enumerate(others)
        ]
    return found


def best_threshold(choosing: Sequence[Pair]) -> float:
    """Return the threshold of highest F1 among those that are precise enough."""
    steps = [step / 100 for step in range(20, 100)]
    precise = [s for s in steps if (figures(choosing, s)["precision"] or 0) >= LEAST_PRECISION]
    return max(precise, key=lambda step: figures(choosing, step)["f1"])


def figures(found: Sequence[Pair], threshold: float) -> dict[str, Any]:
    """Return precision, recall and F1, and the share of each kind that is taken for a repeat."""
    folded = [pair for pair in found if pair.similarity >= threshold]
    right = sum(pair.is_repeat for pair in folded)
    precision = right / len(folded) if folded else None
    recall = right / sum(pair.is_repeat for pair in found)
    f1 = 2 * right / (len(folded) + sum(pair.is_repeat for pair in found))
    taken = {
        kind: float(np.mean([p.similarity >= threshold for p in found if p.kind == kind]))
        for kind in (*REPEATS, "near", "unrelated")
    }
    shares = {"precision": precision, "recall": recall, "f1": f1}
    rounded = {name: None if value is None else round(value, 3) for name, value in shares.items()}
    return rounded | {"taken": {kind: round(share, 3) for kind, share in taken.items()}}


def _others(entry: dict[str, Any]) -> list[tuple[str, str]]:
    near = [("near", text) for text in entry["near"]]
    return [(kind, entry[kind]) for kind in (*REPEATS, "unrelated")] + near


def _timing() -> dict[str, Any]:
    """Return how long 15 candidates take beside thousands of earlier questions, once read."""
    entries = yaml.safe_load(PAIRS.read_text("utf-8"))
    texts = [entry["question"] for entry in entries]
    earlier = [f"{texts[n % len(texts)]} ({n})" for n in range(N_EARLIER)]
    candidates = [entry["reworded"] for entry in entries][:15]
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        assess(candidates, earlier, texts[0])
        seconds.append(time.perf_counter() - began)
    return {
        "earlier_questions": N_EARLIER,
        "candidates": len(candidates),
        "first_ms": round(seconds[0] * 1000),
        "again_ms": round(min(seconds[1:]) * 1000),
    }


def _embedder(url: str, model: str) -> Embed:
    return EmbeddingServer(Embedder(url=HttpUrl(url), model=model, timeout_s=120))


if __name__ == "__main__":
    main()
