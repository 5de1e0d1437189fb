"""How alike texts of known sameness are found, by their length and language.

    python -m benchmarks.diversity

prints the table of docs/insights.md: texts are put together of sentences of the interface, which
stand in the catalogue in English and in Japanese.
"""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

from workbench.stats.diversity import similarity

CATALOGUE = Path(__file__).parents[1] / "workbench" / "ui" / "catalogue"
N_PAIRS = 25
LENGTHS = (1, 2, 4, 8, 16, 32, 64)
GLUE = {"en": " ", "ja": ""}


def sentences() -> list[dict[str, str]]:
    """Return the longer texts of the interface, without marks and placeholders."""
    found = []
    for path in sorted(CATALOGUE.glob("*.yaml")):
        for text in yaml.safe_load(path.read_text("utf-8")).values():
            if isinstance(text, dict) and 60 < len(text.get("en", "")) < 220:
                found.append({name: re.sub(r"[*:_{}]", "", text[name]) for name in GLUE})
    return found


def by_counts(texts: list[str]) -> float:
    """Return the cosine of the counts of three-letter sequences, for comparison."""
    plain = [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts]
    a, b = (Counter(text[i : i + 3] for i in range(len(text) - 2)) for text in plain)
    norms = [sum(n * n for n in one.values()) ** 0.5 for one in (a, b)]
    return sum(a[gram] * b[gram] for gram in a) / (norms[0] * norms[1])


def pairs(language: str, n: int, shared: int) -> list[list[str]]:
    """Return pairs of texts of ``n`` sentences that have ``shared`` of them in common."""
    stock = [one[language] for one in sentences()]
    glue, found = GLUE[language], []
    for seed in range(N_PAIRS):
        order = np.random.default_rng(1000 * n + seed).permutation(len(stock))
        first = [stock[i] for i in order[:n]]
        other = [stock[i] for i in order[n : 2 * n - shared]]
        found.append([glue.join(first), glue.join(first[:shared] + other)])
    return found


def main() -> None:
    """Print the table."""
    for n in LENGTHS:
        own = [
            np.mean([similarity(pair)[0, 1] for pair in pairs(language, n, shared)])
            for shared in (0, n // 2)
            for language in GLUE
        ]
        before = [np.mean([by_counts(pair) for pair in pairs(name, n, 0)]) for name in GLUE]
        half = [f"{one:.2f}" if n > 1 else "" for one in own[2:]]
        told = [f"{one:.2f}" for one in own[:2]] + half + [f"{one:.2f}" for one in before]
        print(f"| {n} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
