"""Training rows from dialogues: what people chose to ask next, as the model was asked for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database
from db.datasets import every_row
from db.questions import NewQuestion, add_child
from db.tables import Generation, Prompt, ReasoningVariant
from serving.formats.render import IGNORED_LABEL
from serving.formats.tokenizer import PromptTokenizer
from serving.reasonings import save_reasoning
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab
from training.datasets.build import Built, build
from training.datasets.freeze import freeze
from training.datasets.rows import encode_dataset
from training.datasets.rules import parse_rules
from training.datasets.shapes import alpaca
from workbench.dialogue.decisions import choose, pick, reject, set_node_state, write
from workbench.dialogue.events import By

SFT: dict[str, Any] = {
    "name": "q",
    "held_out": 0,
    "kind": "sft",
    "take": {"edited": True, "needs": "reasoning"},
    "targets": {"assistant": "reasoning"},
    "question_to_question": 0.9,
    "without_reasoning": 0,
    "findings": [],
}
DPO: dict[str, Any] = {"name": "p", "held_out": 0, "kind": "dpo", "take": {}, "findings": []}


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    """One turn: of rebut a question taken and one rejected; of gap one that nobody chose."""
    lab = Lab(database, fake_server)
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    root = lab.here
    view = lab.ask("rebut", "gap")
    rebuts = [c for c in view.candidates if c.move == "rebut"]
    gap = next(c for c in view.candidates if c.move == "gap")
    automatic = By(rater_id=lab.by.rater_id, automatic=True)
    with lab.database.write() as session:
        reject(session, lab.id, root, rebuts[1].event_id, rebuts[1].place, lab.by)
        pick(session, lab.id, root, rebuts[0].event_id, rebuts[0].place, lab.by)
        write(session, lab.id, root, "Says who?", lab.by, move="rebut")
        pick(session, lab.id, root, gap.event_id, gap.place, automatic)
    return lab


def built(lab: Lab, rules: dict[str, Any]) -> Built:
    with lab.database.write() as session:
        return build(session, parse_rules(rules), lab.registry)


def with_a_reasoning(lab: Lab) -> None:
    """Questions are at most a share of the rows: give them a row to stand beside."""
    with lab.database.write() as session:
        first = session.scalars(select(ReasoningVariant)).first()
        assert first is not None
        text = f"{first.text} You should count them."
        save_reasoning(session, first.question_id, text, lab.by.rater_id, parent_ids=[first.id])


def test_what_people_chose_is_learned_and_what_ran_by_itself_is_not(lab: Lab) -> None:
    with_a_reasoning(lab)
    rows = [row for row in built(lab, SFT).rows if row.target == "questions"]
    assert len(rows) == 1
    texts = rows[0].texts
    chosen = json.loads(texts.questions or "")
    assert chosen[1] == "Says who?"
    assert len(chosen) == 2
    assert texts.answer == lab.view(1).chosen.answer.text  # type: ignore[union-attr]
    assert texts.reasoning is not None
    assert "Each doubts one claim" in (texts.move or "")


def test_a_question_that_was_rejected_later_is_not_learned(lab: Lab) -> None:
    with_a_reasoning(lab)
    with lab.database.write() as session:
        set_node_state(session, lab.id, lab.view(1).events[-3].payload["to"], "rejected", lab.by)
    (row,) = [row for row in built(lab, SFT).rows if row.target == "questions"]
    assert json.loads(row.texts.questions or "") == ["Says who?"]


def test_the_prompt_that_is_learned_from_is_the_one_that_was_served(
    lab: Lab, embedded_model: Path
) -> None:
    with_a_reasoning(lab)
    with lab.database.write() as session:
        dataset_id = freeze(session, build(session, parse_rules(SFT), lab.registry))
    tokenizer = PromptTokenizer.load(embedded_model)
    with lab.database.read() as session:
        form = lab.registry.format("tagged@1").definition
        encoded = encode_dataset(session, dataset_id, "train", form, tokenizer)
        served = session.scalars(
            select(Prompt.text)
            .join(Generation, Generation.prompt_id == Prompt.id)
            .where(Generation.kind == "questions")
            .order_by(Generation.id)
        ).all()
        table = {
            row.target: alpaca(row, "demonstrations", form)
            for row in every_row(session, dataset_id, ["train"])
        }
    texts = []
    for row in encoded:
        ids, labels = row["input_ids"], row["labels"]
        assert isinstance(ids, list)
        assert isinstance(labels, list)
        n_prompt = labels.count(IGNORED_LABEL)
        texts.append((tokenizer.decode(ids[:n_prompt]), tokenizer.decode(ids[n_prompt:])))
    prompt, learned = next(pair for pair in texts if "Propose five" in pair[0])
    rebut = next(text for text in served if "Each doubts one claim" in text)
    assert prompt.endswith(rebut)
    assert json.loads(learned.removesuffix("<|im_end|>"))[1] == "Says who?"
    row = table["questions"]
    assert row["output"].splitlines()[1] == "Says who?"
    assert row["reasoning"]


def test_the_chosen_are_preferred_to_the_rejected_and_if_asked_for_to_those_passed_over(
    lab: Lab,
) -> None:
    rejected = built(lab, DPO).rows
    assert len(rejected) == 2
    assert len({row.texts.rejected_questions for row in rejected}) == 1
    more = built(lab, DPO | {"take": {"questions": "passed_over"}, "per_question": 50}).rows
    assert len(more) > 2
    assert {row.target for row in more} == {"questions"}
    assert built(lab, DPO | {"take": {"questions": "none"}}).rows == ()


def test_children_of_imported_questions_are_learned_as_before(
    lab: Lab,
) -> None:
    with_a_reasoning(lab)
    with lab.database.write() as session:
        add_child(session, 1, NewQuestion(text="Which towns tried it?"), "ground")
    targets = [row.target for row in built(lab, SFT).rows]
    assert targets.count("answer") == 1
    assert targets.count("questions") == 1
