"""Synopsis, translation, for and against: what models write beside answers and questions."""

import json

import pytest

from db.database import Database
from db.errors import UsageError
from tests.fakes.server import FakeServer, fake_text
from tests.unit.dialogue_lab import Lab
from tests.unit.sweep_lab import rows, scalar
from workbench.dialogue.decisions import choose, write
from workbench.dialogue.reading import translate, translations
from workbench.dialogue.sides import argue, judge, verdicts
from workbench.dialogue.synopsis import (
    SynopsisLine,
    edit_synopsis,
    read_synopsis,
    write_synopsis,
)


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    lab = Lab(database, fake_server)
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    return lab


def says(lab: Lab, where: str, text: str) -> None:
    """Have the server write ``text`` where the prompt holds ``where``."""
    lab.server.text = lambda prompt, index, seed: (
        text if where in prompt else fake_text(prompt, index, seed)
    )


def test_a_synopsis_links_each_line_to_its_questions_and_can_be_edited(lab: Lab) -> None:
    lines = [
        {"kind": "known", "text": "Vans still come.", "questions": [1, 7]},
        {"kind": "open", "text": "Who pays?", "questions": []},
        "nonsense",
    ]
    says(lab, "Sum up", json.dumps(lines))
    with lab.database.write() as session:
        step = write_synopsis(session, lab.registry, lab.id, lab.by)
    lab.run(step)
    root = lab.here
    with lab.database.read() as session:
        found = read_synopsis(session, lab.id)
    assert found is not None
    assert [(line.kind, line.text, line.node_ids) for line in found.lines] == [
        ("known", "Vans still come.", (root,)),
        ("open", "Who pays?", ()),
    ]
    assert not found.is_edited
    with lab.database.write() as session:
        edited = SynopsisLine(kind="known", text="Vans come at night.", node_ids=(root,))
        edit_synopsis(session, lab.id, [edited], lab.by)
        with pytest.raises(UsageError, match="no question"):
            wrong = SynopsisLine(kind="open", text="?", node_ids=(99,))
            edit_synopsis(session, lab.id, [wrong], lab.by)
    says(lab, "Sum up", "I cannot.")
    with lab.database.write() as session:
        step = write_synopsis(session, lab.registry, lab.id, lab.by)
    lab.run(step)
    with lab.database.read() as session:
        found = read_synopsis(session, lab.id)
    assert found is not None
    assert found.lines == (edited,), "a synopsis that cannot be read replaces nothing"
    assert found.is_edited
    assert "could not be read" in found.problems[0]


def test_a_translation_is_read_and_never_becomes_a_text_of_the_store(lab: Lab) -> None:
    counts = "SELECT (SELECT count(*) FROM reasoning_variant), (SELECT count(*) FROM answer)"
    before = rows(lab.database, counts)
    says(lab, "Translate this text into Japanese", "町は静かになります。")
    answer_id = lab.view().shown[0].answer.id
    with lab.database.write() as session:
        step = translate(session, lab.registry, lab.id, lab.here, f"a{answer_id}", "ja", lab.by)
    lab.run(step)
    with lab.database.read() as session:
        assert translations(session, lab.id, "ja") == {f"a{answer_id}": "町は静かになります。"}
        assert translations(session, lab.id, "de") == {}
    assert rows(lab.database, counts) == before


def test_both_sides_are_argued_and_the_audience_judges_in_both_orders(lab: Lab) -> None:
    with lab.database.write() as session:
        steps = argue(session, lab.registry, lab.id, lab.here, lab.by)
    for step in steps:
        view = lab.run(step)
    sides = {card.side: card.answer.id for card in view.shown if card.side}
    assert set(sides) == {"goal", "opposing"}
    says(lab, "You are to be convinced", '{"why": "It is nearer to me.", "better": "first"}')
    pair = (sides["goal"], sides["opposing"])
    with lab.database.write() as session:
        steps = judge(session, lab.registry, lab.id, lab.here, pair, lab.by)
    for step in steps:
        lab.run(step)
    assert "Shop owners of the centre" in lab.server.requests[-1]["prompt"]
    said = "SELECT outcome, swapped, note, axis, scope FROM rating ORDER BY id"
    assert rows(lab.database, said) == [
        ("a", 0, "It is nearer to me.", "preference", "answer"),
        ("b", 1, "It is nearer to me.", "preference", "answer"),
    ]
    assert scalar(lab.database, "SELECT kind FROM rater ORDER BY id DESC") == "model"
    with lab.database.read() as session:
        (told,) = verdicts(session, lab.id, lab.here).values()
    assert [event.payload["outcome"] for event in told] == ["a", "b"]


def test_a_verdict_that_cannot_be_read_is_no_rating(lab: Lab) -> None:
    says(lab, "You are to be convinced", '{"why": "Hm."')
    ids = [card.answer.id for card in lab.view().shown]
    with lab.database.write() as session:
        steps = judge(session, lab.registry, lab.id, lab.here, (ids[0], ids[1]), lab.by)
    for step in steps:
        lab.run(step)
    assert scalar(lab.database, "SELECT count(*) FROM rating") == 0
    with lab.database.write() as session:
        event = verdicts(session, lab.id, lab.here)[ids[0], ids[1]][0]
    assert "no verdict" in event.payload["problems"][0]


def test_without_an_opposing_goal_or_an_audience_there_are_no_sides(
    database: Database, fake_server: FakeServer
) -> None:
    lab = Lab(database, fake_server, opposing_goal=None, audience=None)
    with database.write() as session, pytest.raises(UsageError, match="no opposing goal"):
        argue(session, lab.registry, lab.id, lab.here, lab.by)
    with database.write() as session, pytest.raises(UsageError, match="no audience"):
        judge(session, lab.registry, lab.id, lab.here, (1, 2), lab.by)
    with database.write() as session, pytest.raises(UsageError, match="Choose an answer"):
        write_synopsis(session, lab.registry, lab.id, lab.by)
    with database.write() as session:
        write(session, lab.id, lab.here, "What then?", lab.by)
