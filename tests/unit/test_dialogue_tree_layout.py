"""Where the questions of a session lie on the mind map."""

from itertools import pairwise

from workbench.ui.dialogues.tree import FOLD_ABOVE, Link, folded_at_first, lay_out, way_to

SMALL = [Link(id=n, parent_id=p) for n, p in ((1, None), (2, 1), (3, 1), (4, 2), (5, 2))]
LARGE = [Link(id=n, parent_id=None if n == 1 else n // 3 + (n < 3)) for n in range(1, 301)]


def test_a_parent_lies_in_the_middle_of_its_children_in_the_column_before() -> None:
    spots = {spot.id: spot for spot in lay_out(SMALL)}
    assert [spots[n].depth for n in (1, 2, 4)] == [0, 1, 2]
    assert spots[2].row == (spots[4].row + spots[5].row) / 2


def test_no_two_questions_of_a_column_touch() -> None:
    columns: dict[int, list[float]] = {}
    for spot in lay_out(LARGE):
        columns.setdefault(spot.depth, []).append(spot.row)
    assert all(b - a >= 1 for rows in columns.values() for a, b in pairwise(sorted(rows)))


def test_a_folded_branch_tells_how_many_it_hides() -> None:
    spots = {spot.id: spot for spot in lay_out(SMALL, {2})}
    assert set(spots) == {1, 2, 3}
    assert spots[2].n_hidden == 2


def test_a_large_tree_folds_all_but_the_way_to_the_question_at_hand() -> None:
    assert folded_at_first(SMALL, 4) == set()
    way = way_to(LARGE, 290)
    shown = {spot.id for spot in lay_out(LARGE, folded_at_first(LARGE, 290))}
    assert set(way) <= shown
    assert len(shown) < FOLD_ABOVE
