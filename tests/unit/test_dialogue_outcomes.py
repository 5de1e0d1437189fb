"""What became of questions is called alike on the page, in reports, on the terminal, in exports."""

import json
from typing import get_args

import pytest
from typer.testing import CliRunner

from db.database import Database
from db.dialogues import list_dialogues
from db.tables import Question
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab
from workbench.cli.main import app
from workbench.dialogue.cards import Candidate, Folded, node_view
from workbench.dialogue.decisions import (
    choose,
    go_to,
    merge,
    park,
    pick,
    reject,
    set_node_state,
    write,
)
from workbench.dialogue.export import read_export
from workbench.dialogue.lifecycle import change_state, fork
from workbench.dialogue.outcomes import Came, Outcome, called_words, how_taken
from workbench.dialogue.report import as_html, as_json, as_markdown
from workbench.dialogue.tree import read_tree

PROPOSED = (
    "Who pays for the delivery of goods at night?",
    "How loud is a tram in the old town?",
    "What does a parking space cost?",
    "Which trees grow along the streets?",
    "Who repairs the pavement?",
    "How many shops are closed?",
)


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    """A session that stands before six proposed questions."""
    lab = Lab(database, fake_server)
    view = lab.answer()
    with lab.database.write() as session:
        card = view.shown[0].answer.id
        choose(session, lab.id, lab.here, card, lab.by, reason="it names *figures*")
    lab.server.text = lambda prompt, index, seed: json.dumps(PROPOSED)
    lab.ask("gap")
    return lab


def called(lab: Lab, root: int) -> dict[str, str]:
    with lab.database.read() as session:
        return {one.text: one.called for one in node_view(session, lab.id, root).candidates}


def by_text(lab: Lab) -> dict[str, Candidate]:
    return {one.text: one for one in lab.view().candidates}


@pytest.mark.parametrize(
    ("proposed", "text", "name"),
    [
        (PROPOSED[0], PROPOSED[0], "taken"),
        (PROPOSED[0], f" {PROPOSED[0]} ", "taken"),
        (PROPOSED[0], "Who pays for the delivery of goods in winter?", "edited"),
        (PROPOSED[0], "Are trams a danger to children?", "own"),
        ("夜間の配送費は誰が払いますか。", "夜間の配送費は町が払いますか。", "edited"),
        ("夜間の配送費は誰が払いますか。", "路面電車は子どもに危険ですか。", "own"),
    ],
)
def test_a_proposal_is_taken_edited_or_replaced_by_own_words(
    proposed: str, text: str, name: str
) -> None:
    assert how_taken(proposed, text) == name


def test_each_outcome_is_called_alike_wherever_it_is_told(lab: Lab) -> None:
    root, given, by = lab.here, by_text(lab), lab.by
    own = "Are trams a danger to children?"
    with lab.database.write() as session:
        at = [(root, given[text].event_id, given[text].place) for text in PROPOSED]
        pick(session, lab.id, *at[0], by)
        pick(session, lab.id, *at[1], by, text=own, reason="nearer to *me*")
        pick(session, lab.id, *at[2], by, text="What does a parking space in the shade cost?")
        park(session, lab.id, *at[3], by)
        reject(session, lab.id, *at[4], by, reason="known")
        merge(session, lab.id, root, at[5][1], at[0][2], [at[5][2]], by)
        write(session, lab.id, root, "Who was asked?", by)
        go_to(session, lab.id, root, by)
    expected = ("taken", "own", "edited", "parked", "rejected", "merged")
    assert called(lab, root) == dict(zip(PROPOSED, expected, strict=True))
    with lab.database.read() as session:
        tree, export = read_tree(session, lab.id), read_export(session, lab.id)
    assert [node.called for node in tree.nodes] == [
        "first",
        "taken",
        "own",
        "edited",
        "taken",
        "own",
    ]
    words = called_words("en")
    data = json.loads(as_json(export))
    shown = json.loads(q2q("show", str(lab.id), "--node", "1", "--json"))
    for told in (data["questions"][0]["candidates"], shown["questions"]):
        assert {one["text"]: one["called"] for one in told} == called(lab, root)
        assert [one["became"] for one in told if one["called"] == "own"] == [own]
    for report in (as_html(export), as_markdown(export).replace("\\", "")):
        assert f"({words['own']} → “{own}”: nearer to *me*)" in report
        assert f"({words['rejected']}: known)" in report
        assert "it names *figures*" in report, "why the answer was chosen"
    assert "wrote a question in place of a proposed one" in as_html(export)
    assert words["own"] not in q2q("show", str(lab.id)), "the tree tells states, not words"
    assert f"{PROPOSED[0]} ({words['taken']})" in q2q("show", str(lab.id), "--node", "1")


def q2q(*words: str) -> str:
    result = CliRunner().invoke(app, ["dialogue", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_was_decided_later_in_the_tree_counts(lab: Lab) -> None:
    root, given, by = lab.here, by_text(lab), lab.by
    with lab.database.write() as session:
        at = [(root, given[text].event_id, given[text].place) for text in PROPOSED]
        child = pick(session, lab.id, *at[0], by, reason="first")
        waiting = park(session, lab.id, *at[1], by, reason="later")
        set_node_state(session, lab.id, child, "rejected", by, reason="leads nowhere")
        go_to(session, lab.id, waiting, by)
    found = called(lab, root)
    assert (found[PROPOSED[0]], found[PROPOSED[1]]) == ("rejected", "taken")
    with lab.database.read() as session:
        view = node_view(session, lab.id, root)
        export = read_export(session, lab.id)
    reasons = {one.text: one.reason for one in view.candidates}
    assert reasons[PROPOSED[0]] == "leads nowhere"
    for report in (as_html(export), as_markdown(export)):
        assert "Why it was set aside" in report
        assert "leads nowhere" in report
    with lab.database.write() as session:
        go_to(session, lab.id, child, by)
    assert called(lab, root)[PROPOSED[0]] == "taken"


def test_a_fork_names_its_parent_and_the_question_wherever_it_is_told(lab: Lab) -> None:
    given, root = by_text(lab), lab.here
    with lab.database.write() as session:
        one = given[PROPOSED[0]]
        child = pick(session, lab.id, root, one.event_id, one.place, lab.by)
        new = fork(session, lab.id, child, lab.by, name="The other way")
    with lab.database.read() as session:
        export, parent = read_export(session, new), read_export(session, lab.id)
        (listed,) = [row for row in list_dialogues(session) if row.id == new]
    forked = f"Forked from dialogue {lab.id} (A town without cars), at question 2"
    assert forked in as_html(export)
    assert forked in as_markdown(export).replace("\\", "")
    told = {"dialogue_id": lab.id, "name": "A town without cars", "node_id": child, "number": 2}
    assert json.loads(as_json(export))["forked_from"] == told
    assert json.loads(q2q("show", str(new), "--json"))["forked_from"] == told
    assert f"{lab.id}, question 2" in q2q("show", str(new))
    assert f"{lab.id}, question 2" in q2q("show")
    assert listed.forked_from
    assert listed.forked_from.number == 2
    assert parent.tree.dialogue.forked_from is None
    assert f"began another session from here: {new} · The other way" in as_html(parent)


def test_a_report_tells_the_state_and_what_is_held_out(lab: Lab) -> None:
    with lab.database.write() as session:
        session.get_one(Question, lab.view().question.id).held_out = True
        change_state(session, lab.id, "close", lab.by, reason="all is said")
    with lab.database.read() as session:
        export = read_export(session, lab.id)
    for report in (as_html(export), as_markdown(export)):
        assert "State: closed (all is said)" in report
        assert "held out" in report
    assert "(held out)" in q2q("show", str(lab.id))


@pytest.mark.parametrize("language", ["en", "ja"])
def test_there_is_a_word_for_everything(language: str) -> None:
    folded = {{"rejected": "rejected_before", "proposed": "proposed_before"}.get(one, one)
              for one in get_args(Folded)}  # fmt: skip
    outcomes = get_args(Outcome.__annotations__["called"])
    assert set(called_words(language)) == {*folded, *outcomes, *get_args(Came)}
