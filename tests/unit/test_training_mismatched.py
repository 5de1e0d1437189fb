"""No row of KTO is ever compared with itself in the KL term."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.errors import UsageError
from training.runs.mismatched import check_has_other_prompts, other_completions

ROWS = st.lists(
    st.builds(
        lambda prompt, text: {"prompt_ids": [prompt], "completion_ids": [text]},
        st.integers(0, 4),
        st.integers(0, 4),
    ),
    max_size=17,
)


def rows(*pairs: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"prompt_ids": [prompt], "completion_ids": [text]} for prompt, text in pairs]


@given(rows=ROWS, batch=st.integers(2, 6))
def test_every_row_meets_a_text_of_another_prompt_where_there_is_one(
    rows: list[dict[str, Any]], batch: int
) -> None:
    for row, other in zip(rows, other_completions(rows, batch), strict=True):
        fitting = [
            one["completion_ids"]
            for one in rows
            if one["prompt_ids"] != row["prompt_ids"]
            and one["completion_ids"] != row["completion_ids"]
        ]
        assert other in fitting if fitting else other is None


def test_a_batch_is_rotated_where_that_is_enough() -> None:
    assert other_completions(rows((1, 10), (2, 20), (3, 30)), 3) == [[30], [10], [20]]
    twice = rows((1, 10), (1, 11), (2, 20), (2, 21))
    assert other_completions(twice, 4) == [[20], [21], [10], [11]]


def test_a_last_batch_of_one_row_is_not_paired_with_itself() -> None:
    assert other_completions(rows((1, 10), (2, 20), (3, 30)), 2) == [[20], [10], [10]]


def test_a_single_held_out_row_takes_its_partner_from_the_rows_to_train_on() -> None:
    assert other_completions(rows((9, 90)), 4, rows((9, 10), (2, 20))) == [[20]]


@pytest.mark.parametrize("pairs", [((1, 10), (1, 20)), ((1, 10), (2, 10)), ((1, 10),)])
def test_rows_that_cannot_be_paired_are_refused_before_training(
    pairs: tuple[tuple[int, int], ...],
) -> None:
    with pytest.raises(UsageError, match="add rows of other questions"):
        check_has_other_prompts(rows(*pairs), "KTO")
