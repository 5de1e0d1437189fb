"""Rows with think-style markup: imported, built, exported, and imported elsewhere unchanged."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database, open_database
from db.datasets import find_dataset
from db.tables import Answer, Question, ReasoningVariant
from serving.importers.training_data import Judge, import_examples
from tests.unit.dataset_lab import Lab, lab_session, read_whole
from training.datasets.export import FORMATS, default_prompt_format, export

Texts = set[tuple[str, str, str]]
TOPICS = [
    "eggs boil", "whales sleep", "bread rises", "bees winter", "kites fly", "metals melt",
    "thunder sounds", "paper ages", "rivers bend", "glass bends light", "owls hear",
]  # fmt: skip
TEXTS = [
    (
        f"How is it that {topic}?",
        f"You should say how {topic}. You should write nothing about {topic[::-1]}.",
        f"What {topic} is like: between one and two stands {topic[::-1]}.",
    )
    for topic in TOPICS
]
SPEAKING = [
    (
        question,
        reasoning.replace("nothing", "no <think> tag"),
        answer.replace("one and two", "<think> and </think>"),
    )
    for question, reasoning, answer in TEXTS
]
"""The same, with texts that speak of the markup."""


def say(speaker: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"role": speaker, "content": text, **more}


def shapes(question: str, reasoning: str, answer: str) -> list[dict[str, Any]]:
    """Return one row in eleven shapes of other programs."""
    asked = say("user", question)
    parts = [{"type": "thinking", "thinking": reasoning}, {"type": "text", "text": answer}]
    marked = (
        f"<|begin_of_thought|>\n\n{reasoning}\n\n<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n\n{answer}\n\n<|end_of_solution|>"
    )
    channels = [say("assistant", reasoning, channel="analysis"), say("assistant", answer)]
    return [
        {
            "instruction": question,
            "input": "",
            "output": f"<think>\n{reasoning}\n</think>\n{answer}",
        },
        {"messages": [asked, say("assistant", f"<think>{reasoning}</think>{answer}")]},
        {"prompt": question, "completion": f"{reasoning}\n</think>\n\n{answer}"},
        {"prompt": [asked], "completion": [say("assistant", answer, reasoning_content=reasoning)]},
        {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": marked}]},
        {"instruction": question, "output": f"<reasoning>{reasoning}</reasoning><answer>{answer}"},
        {"messages": [asked, say("assistant", parts)]},
        {"messages": [asked, *channels]},
        {"Question": question, "Complex_CoT": reasoning, "Response": answer},
        {"problem": question, "deepseek_reasoning": reasoning, "deepseek_solution": answer},
        {"messages": [asked], "reasoning": reasoning, "answer": answer},
    ]


def stored(lab: Lab) -> Texts:
    found = lab.session.execute(
        select(Question.text, ReasoningVariant.text, Answer.text)
        .join(Answer, Answer.question_id == Question.id)
        .join(ReasoningVariant, ReasoningVariant.id == Answer.variant_id)
    )
    return {(question, reasoning, answer) for question, reasoning, answer in found}


def bring(lab: Lab, path: Path) -> Texts:
    done = import_examples(lab.database, read_whole(path, lab.registry), judge=Judge())
    assert (done.counts.errors, done.problems) == (0, ())
    return stored(lab)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("texts", "rules"), [(TEXTS, {}), (SPEAKING, {"findings": []})])
def test_eleven_shapes_come_in_are_built_and_come_back_from_every_export(
    database: Database,
    migrated_file: Path,
    tmp_path: Path,
    kind: str,
    texts: list[tuple[str, str, str]],
    rules: dict[str, Any],
) -> None:
    rows = [shapes(*one)[number] for number, one in enumerate(texts)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    suffix = {"alpaca": ".json", "sharegpt": ".json", "messages": ".jsonl", "trl": ".jsonl"}
    target = tmp_path / f"out{suffix.get(kind, '.parquet' if kind == 'parquet' else '')}"
    with lab_session(database) as session:
        lab = Lab(session)
        assert bring(lab, path) == set(texts)
        lab.freeze(name="all", take={"sources": ["imported"]}, held_out=0, **rules)
        dataset = find_dataset(session, "all")
        assert dataset.n_train == len(texts)
        form = lab.registry.format(default_prompt_format(kind)).definition
        export(session, dataset, kind, target, form=form)
    shutil.copy(migrated_file, tmp_path / "other.sqlite")
    other = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    with lab_session(other) as session:
        assert bring(Lab(session), target) == set(texts)
    other.close()


def test_a_stored_answer_with_markup_goes_out_as_it_was_written(
    database: Database, tmp_path: Path
) -> None:
    with lab_session(database) as session:
        lab = Lab(session)
        question = lab.question("Why do kites fly?")
        written = "<think>\nYou should name the wind.\n</think>\n\nWind lifts them."
        lab.rate(lab.answer(question, None, written), 1, axis="ok", scope="answer")
        lab.freeze(name="old", kind="kto", findings=[])
        form = lab.registry.format("chat").definition
        export(session, find_dataset(session, "old"), "messages", tmp_path / "o.jsonl", form=form)
        (row,) = map(json.loads, (tmp_path / "o.jsonl").read_text("utf-8").splitlines())
        assert row["completion"][0]["content"] == written
        (found,) = read_whole(tmp_path / "o.jsonl", lab.registry)
    assert [(one.reasoning, one.output) for one in found.rows] == [
        ("You should name the wind.", "Wind lifts them.")
    ]
