"""The example training set: what it teaches, and that no row breaks the rules it teaches."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from serving.checks import CheckContext, check_answer, check_reasoning
from serving.importers import read_rows
from serving.importers.source import ImportRow

FOLDER = Path(__file__).parents[2] / "examples" / "training"
MOST_ALIKE = 0.7
"""Share of common runs of three characters above which two questions count as the same."""


def rows_of(name: str) -> list[ImportRow]:
    result = read_rows(FOLDER / f"{name}.jsonl")
    assert not result.problems
    return list(result.rows)


@pytest.fixture(scope="module")
def training() -> list[ImportRow]:
    return rows_of("english") + rows_of("japanese")


@pytest.fixture(scope="module")
def held_out() -> list[ImportRow]:
    return rows_of("held_out")


def context(row: ImportRow) -> CheckContext:
    return CheckContext(
        question=row.text,
        context=row.context,
        reference_answer=row.output,
        role=row.role,
        language=row.language,
        answer=row.output,
    )


def names(row: ImportRow) -> list[str]:
    assert row.reasoning
    assert row.output
    found = check_reasoning(row.reasoning, context(row))
    found += check_answer(row.output, context(row), row.reasoning)
    return [finding.name for finding in found]


def test_it_teaches_all_roles_in_two_languages(training: list[ImportRow]) -> None:
    assert len(training) >= 300
    for language, least in (("en", 200), ("ja", 100)):
        roles = Counter(row.role for row in training if row.language == language)
        assert roles.total() >= least
        assert set(roles) == {"assistant", "translator", "creator", "logician"}
        assert min(roles.values()) >= 20


def test_no_row_breaks_the_rules_that_it_teaches(
    training: list[ImportRow], held_out: list[ImportRow]
) -> None:
    broken = {
        row.external_id: left
        for row in training + held_out
        if (left := set(names(row)) - {"dont_know"})
    }
    assert not broken


def test_not_knowing_is_taught_where_it_is_due(
    training: list[ImportRow], held_out: list[ImportRow]
) -> None:
    rows = training + held_out
    admits = {row.external_id for row in rows if "dont_know" in names(row)}
    assert admits == {row.external_id for row in rows if row.category == "unknown"}
    assert 0.05 < sum(row.category == "unknown" for row in training) / len(training) < 0.2


def test_no_two_rows_are_nearly_the_same(
    training: list[ImportRow], held_out: list[ImportRow]
) -> None:
    shingles = {
        row.external_id: {text[i : i + 3] for i in range(len(text) - 2)}
        for row in training + held_out
        if (text := f"{row.text} {row.context}".casefold().strip())
    }
    alike = [
        (one, other)
        for (one, a), (other, b) in combinations(shingles.items(), 2)
        if len(a & b) > MOST_ALIKE * len(a | b)
    ]
    assert not alike


def test_held_out_rows_say_so(held_out: list[ImportRow], training: list[ImportRow]) -> None:
    assert len(held_out) >= 55
    assert all(row.held_out for row in held_out)
    assert not any(row.held_out for row in training)
