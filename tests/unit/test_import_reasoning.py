"""The reasoning of a row is found in every shape and by every door, or the row is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from serving.importers import read_reasonings, read_rows
from serving.importers.source import ImportFile
from tests.unit.dataset_lab import Lab, read_whole

ADD, FOUR, ASK = "You should add.", "Four", "What is two and two?"
THINK = f"<think>\n{ADD}\n</think>\n\n{FOUR}"
SPLIT = (
    "The reasoning of 1 text stood in markup such as <think> and was told apart from the answer."
)


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def say(speaker: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"role": speaker, "content": text, **more}


def chat(*answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [say("user", ASK), *answer], **more}


def read(lab: Lab, folder: Path, *rows: dict[str, Any]) -> ImportFile:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    (found,) = read_whole(path, lab.registry)
    return found


def data_of(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode()


SHAPES: list[dict[str, Any]] = [
    chat(say("assistant", FOUR, reasoning_content=ADD)),
    chat(say("assistant", FOUR, reasoning=ADD)),
    chat(say("assistant", FOUR, thinking=ADD)),
    chat(say("assistant", THINK)),
    chat(say("assistant", f"{ADD}\n</think>\n\n{FOUR}")),
    chat(say("assistant", THINK, reasoning_content=ADD)),
    chat(say("assistant", [{"type": "thinking", "thinking": ADD}, {"type": "text", "text": FOUR}])),
    chat(
        say(
            "assistant",
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": ADD}]},
                {"type": "text", "text": FOUR},
            ],
        )
    ),
    chat(
        say(
            "assistant",
            [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": ADD}]},
                {"type": "output_text", "text": FOUR},
            ],
        )
    ),
    chat(say("assistant", ADD, channel="analysis"), say("assistant", FOUR, channel="final")),
    chat(say("reasoning", ADD), say("assistant", FOUR)),
    chat(
        say(
            "assistant",
            f"<|channel|>analysis<|message|>{ADD}<|end|><|start|>assistant<|channel|>final"
            f"<|message|>{FOUR}<|return|>",
        )
    ),
    chat(say("assistant", FOUR), reasoning=ADD),
    chat(reasoning=ADD, answer=FOUR),
    {
        "conversations": [
            {"from": "human", "value": ASK},
            {
                "from": "gpt",
                "value": f"<|begin_of_thought|>\n\n{ADD}\n\n<|end_of_thought|>\n\n"
                f"<|begin_of_solution|>\n\n{FOUR}\n\n<|end_of_solution|>",
            },
        ]
    },
    {"instruction": ASK, "input": "", "output": THINK},
    {"instruction": ASK, "output": f"<reasoning>{ADD}</reasoning><answer>{FOUR}</answer>"},
    {"instruction": ASK, "output": f"[THINK]{ADD}[/THINK]{FOUR}"},
    {"prompt": ASK, "completion": THINK},
    {"prompt": ASK, "completion": f"{ADD}</think>{FOUR}"},
    {"prompt": ASK, "completion": FOUR, "reasoning": ADD},
    {"prompt": ASK, "response": THINK},
    {"prompt": [say("user", ASK)], "completion": [say("assistant", THINK)]},
    {"prompt": [say("user", ASK)], "completion": [say("assistant", FOUR, reasoning=ADD)]},
    {"Question": ASK, "Complex_CoT": ADD, "Response": FOUR},
    {"question": ASK, "rationale": ADD, "answer": FOUR},
    {"question": ASK, "chain_of_thought": ADD, "answer": FOUR},
    {"problem": ASK, "deepseek_reasoning": ADD, "deepseek_solution": FOUR},
    {"problem": ASK, "generations": [THINK], "answer": "4", "solution": "2 + 2 = 4"},
    {"question": ASK, "thinking_trajectories": [ADD], "attempt": FOUR, "solution": "4"},
    {"question": ASK, "reasoning": f"<think>{ADD}</think>", "answer": FOUR},
    {"question": ASK, "reasoning": {"style": "freetext", "content": ADD}, "answer": FOUR},
]


@pytest.mark.parametrize("row", SHAPES)
def test_every_shape_gives_its_reasoning_by_every_door(
    lab: Lab, tmp_path: Path, row: dict[str, Any]
) -> None:
    found = read(lab, tmp_path, row)
    assert not found.problems, found.problems
    (example,) = found.rows
    asked = read_rows(data_of(row), name="q.jsonl")
    assert not asked.problems, asked.problems
    for one in (example, *asked.rows):
        assert (one.text, one.reasoning, one.output) == (ASK, ADD, FOUR)
    said = [
        one.replace("Kept as fields of the questions", "Fields not used") for one in asked.notes
    ]
    assert found.notes == said
    (supplied,) = read_reasonings(data_of(row), name="q.jsonl")
    assert supplied.text == ADD


def test_a_table_of_texts_gives_its_reasonings(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'question,answer\n{ASK},"{THINK}"\n')
    (found,) = read_whole(path, lab.registry)
    assert [(one.reasoning, one.output) for one in found.rows] == [(ADD, FOUR)]
    assert found.notes == [SPLIT]


@pytest.mark.parametrize(
    "pair",
    [
        {"prompt": ASK, "chosen": THINK, "rejected": f"<think>{ADD} No.</think>Five"},
        {
            "prompt": [say("user", ASK)],
            "chosen": [say("assistant", THINK)],
            "rejected": [say("assistant", "Five", reasoning_content=f"{ADD} No.")],
        },
        {
            "chosen": [say("user", ASK), say("assistant", THINK)],
            "rejected": [say("user", ASK), say("assistant", f"{ADD} No.</think>Five")],
        },
        {"instruction": ASK, "chosen": THINK, "rejected": f"<think>{ADD} No.</think>Five"},
    ],
)
def test_both_sides_of_a_pair_have_their_own_reasoning(
    lab: Lab, tmp_path: Path, pair: dict[str, Any]
) -> None:
    (found,) = read(lab, tmp_path, pair).rows
    assert found.scope == "whole"
    assert (found.reasoning, found.output) == (ADD, FOUR)
    assert found.rejected is not None
    assert (found.rejected.reasoning, found.rejected.output) == (f"{ADD} No.", "Five")


def test_a_judged_completion_is_judged_with_its_reasoning(lab: Lab, tmp_path: Path) -> None:
    (found,) = read(lab, tmp_path, {"prompt": ASK, "completion": THINK, "label": True}).rows
    assert (found.scope, found.reasoning, found.label) == ("whole", ADD, True)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": ASK, "completion": f"<think>{ADD}"}, "'completion': holds a reasoning that is"),
        ({"instruction": ASK, "output": f"<think>{ADD}</think>"}, "'output': holds no answer"),
        ({"instruction": ASK, "output": THINK, "reasoning": "So."}, "'output': holds a reasoning"),
        (chat(say("assistant", f"<think>{ADD}")), "'messages': holds a reasoning that is never"),
        (chat(say("assistant", ADD, channel="analysis")), "holds a reasoning and no answer"),
        (chat(say("assistant", "{}", channel="commentary")), "on the channel 'commentary'"),
        (chat(say("assistant", FOUR, reasoning=ADD), reasoning="So."), "'reasoning': differs"),
        (chat(say("assistant", "", tool_calls=[{"id": "a"}])), "calls tools"),
        (chat(say("assistant", FOUR, function_call={"name": "f"})), "calls tools"),
        ({"problem": ASK, "generations": [f"<think>{ADD}"]}, "'generations': holds a reasoning"),
        ({"prompt": ASK, "chosen": THINK, "rejected": "Five"}, "'rejected': is of another kind"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_by_line(
    lab: Lab, tmp_path: Path, row: dict[str, Any], sentence: str
) -> None:
    found = read(lab, tmp_path, {"instruction": "Fine?"}, row)
    assert [one.text for one in found.rows] == ["Fine?"]
    (problem,) = found.problems
    assert problem.sentence.startswith("rows.jsonl, line 2")
    assert sentence in problem.sentence


def test_each_generation_of_a_list_becomes_an_answer_and_cut_ones_are_counted(
    lab: Lab, tmp_path: Path
) -> None:
    more = "<think>You should count.</think>4"
    row = {"problem": ASK, "generations": [THINK, f"<think>{ADD}", more], "answer": "4"}
    found = read(lab, tmp_path, row)
    assert [(one.reasoning, one.output) for one in found.rows] == [
        (ADD, FOUR),
        ("You should count.", "4"),
    ]
    assert {one.reference_answer for one in found.rows} == {"4"}
    assert "1 of the texts in a list of generations was left out: its reasoning was cut." in (
        found.notes
    )


def test_an_answer_that_speaks_of_the_markup_stays_and_is_counted(lab: Lab, tmp_path: Path) -> None:
    text = "Write your thoughts into the <think> tag."
    found = read(lab, tmp_path, {"instruction": ASK, "output": text})
    assert found.rows[0].output == text
    assert found.notes == ["1 answer speaks of a tag such as <think>; it stays as it is."]


@pytest.mark.parametrize(
    ("row", "reference", "answer"),
    [
        ({"question": ASK, "solution": "Add.", "answer": "4"}, "4", "Add."),
        ({"problem": ASK, "solution": FOUR}, None, FOUR),
        ({"question": ASK, "solution": "4", "answer": THINK}, "4", FOUR),
        ({"question": ASK, "response": FOUR, "answer": "4"}, "4", FOUR),
        ({"question": ASK, "answer": FOUR, "ground_truth": "4"}, "4", FOUR),
        ({"question": ASK, "answer": FOUR, "target": "4"}, "4", FOUR),
        ({"problem": ASK, "generated_solution": FOUR, "expected_answer": "4"}, "4", FOUR),
    ],
)
def test_a_result_beside_an_answer_is_the_reference_answer(
    lab: Lab, tmp_path: Path, row: dict[str, Any], reference: str | None, answer: str
) -> None:
    (found,) = read(lab, tmp_path, row).rows
    assert (found.reference_answer, found.output) == (reference, answer)


def test_all_that_is_not_used_is_named_also_within_turns(lab: Lab, tmp_path: Path) -> None:
    row = chat(say("assistant", FOUR, name="Bo", weight=1), score=3, instruction="Other?", note="")
    assert read(lab, tmp_path, row).notes == [
        "Fields not used: messages[].name, score, instruction."
    ]


def test_text_of_our_formats_is_taken_apart_by_the_door_of_questions_too() -> None:
    prompt = "You help.\n<|instruction|>Why?\n<|context|>So.\n<|reasoning|>"
    row = {"prompt": prompt, "completion": f"{ADD}\n<|response|>{FOUR}"}
    (found,) = read_rows(data_of(row), name="q.jsonl").rows
    assert (found.text, found.reasoning, found.output) == ("Why?", ADD, FOUR)
