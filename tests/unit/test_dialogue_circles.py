"""How the benchmark of circles counts: lists read alike, repeats told beside all before them."""

from benchmarks.dialogue_circles import counted, questions_in, summed
from tests.unit.dialogue_lab import theme


def test_a_list_is_read_without_its_numbers_and_at_most_five_are_counted() -> None:
    text = "Here are some:\n1. Who pays?\n- Who sweeps?\n(3) 誰が払いますか。\n4) ?\n"
    assert questions_in(text) == ["Who pays?", "Who sweeps?", "誰が払いますか。"]
    assert len(questions_in("\n".join(f"{n}. Who is number {n}?" for n in range(9)))) == 5
    assert questions_in("1. The cost\n2. The noise") == ["The cost", "The noise"]


def test_repeats_copies_and_other_languages_are_counted_apart() -> None:
    first = "Who pays for the new bus lines?"
    proposed = [
        "Who pays for the new bus lines",
        "Who is it that pays for the new bus lines?",
        "How loud is a tram at night?",
        "夜の路面電車はどれくらいうるさいですか。",
    ]
    found = counted(first, proposed, theme())
    assert found == {
        "questions": 4,
        "repeated": 2,
        "repeated_share": 0.5,
        "copies": 1,
        "distinct": 2,
        "distinct_in_language": 1,
    }
    sides = {"plain": {"proposed": found}, "guard": {"proposed": found, "laid_out": found}}
    assert summed({"a": sides, "b": sides})["guard laid_out"] == {
        "questions": 8,
        "repeated": 4,
        "copies": 2,
        "distinct": 4,
        "distinct_in_language": 2,
        "repeated_share": 0.5,
    }
    assert counted(first, [], theme())["repeated_share"] is None
