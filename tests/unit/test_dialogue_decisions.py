"""What people decide: facts, edits, hints, own questions, parked, rejected, merged, forked."""

import pytest

from db.database import Database
from db.dialogues import get_dialogue, read_events
from db.errors import UsageError
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab
from tests.unit.sweep_lab import rows
from workbench.dialogue import additions, decisions
from workbench.dialogue.compare import figures
from workbench.dialogue.decisions import merge_nodes
from workbench.dialogue.events import By
from workbench.dialogue.export import read_export
from workbench.dialogue.lifecycle import change_state, fork, set_settings
from workbench.dialogue.report import as_markdown
from workbench.dialogue.tree import duplicates, read_tree
from workbench.dialogue.turn import answer, answer_from, ask


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    return Lab(database, fake_server)


def chosen(lab: Lab) -> Lab:
    view = lab.answer()
    with lab.database.write() as session:
        decisions.choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    return lab


def test_an_edited_reasoning_is_answered_anew_beside_the_cards_that_lie_there(lab: Lab) -> None:
    view = lab.answer()
    old = view.shown[0].reasoning
    assert old is not None
    with lab.database.write() as session:
        node_id = view.node.id
        text = f"{old.text} You should name one street."
        new = additions.edit_reasoning(session, lab.id, node_id, old.id, text, lab.by)
        step = answer_from(session, lab.registry, lab.id, node_id, new, lab.by)
    view = lab.run(step)
    assert len(view.shown) == 4
    first = view.shown[0]
    assert first.reasoning is not None
    assert (first.reasoning.id, first.reasoning.source, first.reasoning.author) == (
        new,
        "edited",
        "Ada",
    )
    assert "name one street" in lab.server.requests[-1]["prompt"]
    assert rows(lab.database, "SELECT variant_id, parent_id FROM variant_parent") == [(new, old.id)]


def test_a_hint_can_come_before_any_answer(lab: Lab) -> None:
    with lab.database.write() as session:
        hint = additions.write_hint(session, lab.id, lab.here, "You should ask drivers.", lab.by)
        step = answer_from(session, lab.registry, lab.id, lab.here, hint, lab.by)
    (card,) = lab.run(step).shown
    assert card.reasoning is not None
    assert card.reasoning.text == "You should ask drivers."
    with lab.database.write() as session, pytest.raises(UsageError, match="who writes it"):
        additions.write_hint(session, lab.id, lab.here, "You should ask.", By())


def test_a_fact_is_carried_down_the_branch_as_context(lab: Lab) -> None:
    lab.answer()
    with lab.database.write() as session:
        additions.add_fact(
            session, lab.id, lab.here, "In 2019, 41 % came by car.", "count of 2019", lab.by
        )
    view = lab.answer()
    told = "- In 2019, 41 % came by car. (source: count of 2019)"
    assert view.question.context == f"Facts:\n{told}"
    assert told in lab.server.requests[-1]["prompt"]
    assert len(view.shown) == 3
    assert len(view.folded) == 3, "what was answered without the fact stays"
    with lab.database.write() as session:
        decisions.choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
        decisions.write(session, lab.id, lab.here, "Who counted the cars?", lab.by, move="ground")
    assert told in lab.view().question.context
    assert "(source: count of 2019)" in lab.view(view.node.id).question.context


def test_each_decision_is_kept_with_its_reason_and_nothing_is_deleted(lab: Lab) -> None:
    view = chosen(lab).ask("deepen", "rebut")
    root = view.node.id
    one, two, three, four, *_ = [c for c in view.candidates if c.is_shown]
    with lab.database.write() as session:
        given = (session, lab.id, root)
        parked = decisions.park(*given, one.event_id, one.place, lab.by, reason="later")
        decisions.reject(*given, two.event_id, two.place, lab.by, reason="too general")
        decisions.merge(*given, three.event_id, three.place, [four.place], lab.by)
        child = decisions.pick(
            *given, three.event_id, three.place, lab.by, text="Who pays for the noise?"
        )
        additions.note(session, lab.id, child, "Ask the mayor.", lab.by)
        additions.tag(session, lab.id, child, ["money"], lab.by)
    view = lab.view(root)
    became = {c.place: (c.decision, c.reason, c.merged_into) for c in view.candidates}
    assert became[one.place] == ("park", "later", None)
    assert became[two.place] == ("reject", "too general", None)
    assert became[three.place] == ("pick", None, None)
    assert became[four.place] == ("merge", None, three.place)
    assert len(view.candidates) == 10
    with lab.database.read() as session:
        tree = read_tree(session, lab.id)
    picked = tree.node(child)
    assert (picked.question, picked.source) == ("Who pays for the noise?", "human")
    assert (picked.tags, picked.notes) == (("money",), ("Ask the mayor.",))
    assert tree.node(parked).state == "parked"
    with lab.database.write() as session:
        decisions.go_to(session, lab.id, parked, lab.by, reason="now")
    with lab.database.read() as session:
        tree = read_tree(session, lab.id)
        reasons = [event.reason for event in read_events(session, lab.id) if event.reason]
    assert (tree.current_id, tree.node(parked).state) == (parked, "open")
    assert reasons == ["later", "too general", "now"]


def test_a_question_hangs_at_one_place_once_however_often_it_is_taken(lab: Lab) -> None:
    root, view = lab.here, chosen(lab).ask("rebut")
    first, other, *_ = view.candidates
    with lab.database.write() as session:
        at = (session, lab.id, root)
        parked = decisions.park(*at, first.event_id, first.place, lab.by)
        taken = decisions.pick(*at, other.event_id, other.place, lab.by)
        for one, number in ((first, 2), (other, 3)):
            with pytest.raises(UsageError, match=f"question {number} of the tree already"):
                decisions.park(*at, one.event_id, one.place, lab.by)
        assert decisions.write(*at, other.text, lab.by) == taken
        assert decisions.pick(*at, first.event_id, first.place, lab.by) == parked
    with lab.database.read() as session:
        tree = read_tree(session, lab.id)
    assert [(node.id, node.state) for node in tree.nodes] == [
        (root, "answered"),
        (parked, "open"),
        (taken, "open"),
    ]
    assert tree.current_id == parked
    with lab.database.write() as session:
        merge_nodes(session, lab.id, taken, [parked], lab.by)
        decisions.write(session, lab.id, root, first.text, lab.by)
    with lab.database.read() as session:
        assert read_tree(session, lab.id).node(parked).merged_into is None


def test_questions_of_the_tree_that_ask_the_same_are_merged_and_told_apart_again(lab: Lab) -> None:
    root = chosen(lab).here
    with lab.database.write() as session:
        given = (session, lab.id, root)
        one = decisions.write(*given, "Who pays for the new bus lines?", lab.by)
        two = decisions.write(*given, "Who is it that pays for the new bus lines?", lab.by)
        three = decisions.write(*given, "How loud is a tram?", lab.by)
    with lab.database.read() as session:
        assert duplicates(read_tree(session, lab.id)) == [(one, two)]
    with lab.database.write() as session:
        merge_nodes(session, lab.id, two, [three], lab.by)
        assert decisions.current_node_id(read_events(session, lab.id)) == two, "one goes on there"
        merge_nodes(session, lab.id, one, [two], lab.by, reason="the same bill")
    with lab.database.read() as session:
        tree = read_tree(session, lab.id)
        export = read_export(session, lab.id)
        assert figures(session, lab.id).distinct == 2
    assert [node.merged_into for node in tree.nodes] == [None, None, one, one]
    assert len(tree.nodes) == 4
    assert tree.current_id == one
    (told,) = [d for n in export.nodes for d in n.decisions if d.reason == "the same bill"]
    assert told.text == "Who is it that pays for the new bus lines?"
    assert "asks the same as 2" in as_markdown(export)
    with lab.database.write() as session:
        decisions.go_to(session, lab.id, two, lab.by)
    with lab.database.read() as session:
        tree = read_tree(session, lab.id)
    assert [node.merged_into for node in tree.nodes] == [None, None, None, two]


def test_what_cannot_be_merged_is_told(lab: Lab) -> None:
    root = lab.here
    with lab.database.write() as session:
        one = decisions.write(session, lab.id, root, "Who pays?", lab.by)
        two = decisions.write(session, lab.id, root, "Who sweeps?", lab.by)
        merge_nodes(session, lab.id, one, [two], lab.by)
    for match, keep, others in (
        ("at least two", one, [one]),
        ("root of the tree", one, [root]),
        ("take it up again first", root, [two]),
        ("take it up again first", two, [one]),
        ("no question with the number", one, [999]),
    ):
        with pytest.raises(UsageError, match=match), lab.database.write() as session:
            merge_nodes(session, lab.id, keep, others, lab.by)


def test_a_fork_takes_the_path_along_and_leaves_the_session_alone(lab: Lab) -> None:
    view = chosen(lab).ask("gap")
    with lab.database.write() as session:
        root, first = view.node.id, view.candidates[0]
        child = decisions.pick(session, lab.id, root, first.event_id, first.place, lab.by)
        decisions.write(session, lab.id, root, "Is there another way?", lab.by)
        new = fork(session, lab.id, child, lab.by, settings={"variants": 5}, reason="deeper")
    with lab.database.read() as session:
        old_tree, tree = read_tree(session, lab.id), read_tree(session, new)
        events = read_events(session, new)
    assert [node.question for node in tree.nodes] == [n.question for n in old_tree.nodes[:2]]
    assert tree.nodes[0].answer_id == old_tree.nodes[0].answer_id
    assert tree.nodes[1].move == "gap"
    assert tree.current_id == tree.nodes[1].id
    assert tree.dialogue.settings["variants"] == 5
    assert tree.dialogue.forked_from
    assert tree.dialogue.forked_from.node_id == child
    assert events[-1].reason == "deeper"
    assert len(old_tree.nodes) == 3
    lab.id = new
    assert len(lab.answer().shown) == 3


def test_nothing_happens_in_a_paused_session(lab: Lab) -> None:
    with lab.database.write() as session:
        change_state(session, lab.id, "pause", lab.by, reason="lunch")
    for refused in (
        lambda session: answer(session, lab.registry, lab.id, lab.here, lab.by),
        lambda session: decisions.write(session, lab.id, lab.here, "Why?", lab.by),
        lambda session: change_state(session, lab.id, "pause", lab.by),
    ):
        with lab.database.write() as session, pytest.raises(UsageError, match="paused"):
            refused(session)
    with lab.database.write() as session:
        change_state(session, lab.id, "resume", lab.by)
        assert get_dialogue(session, lab.id).state == "open"


def test_what_cannot_be_is_refused_in_a_sentence(lab: Lab) -> None:
    view = chosen(lab).ask("gap")
    here, event = lab.here, view.candidates[0].event_id
    asked = view.question.text
    with lab.database.write() as session:
        new = decisions.write(session, lab.id, here, "And then?", lab.by)
    for match, refused in (
        ("Choose an answer first", lambda s: ask(s, lab.registry, lab.id, new, lab.by)),
        ("not one of this question", lambda s: decisions.choose(s, lab.id, new, 1, lab.by)),
        ("not proposed here", lambda s: decisions.pick(s, lab.id, here, event, 99, lab.by)),
        ("no move 'dance'", lambda s: decisions.write(s, lab.id, here, "A?", lab.by, move="dance")),
        ("needs a text", lambda s: decisions.write(s, lab.id, here, " ", lab.by)),
        ("that you are at", lambda s: decisions.write(s, lab.id, here, asked, lab.by)),
        ("fact is empty", lambda s: additions.add_fact(s, lab.id, here, " ", "", lab.by)),
        ("500 fit", lambda s: decisions.write(s, lab.id, here, "B?", lab.by, reason="x" * 501)),
        ("variants", lambda s: set_settings(s, lab.id, {"variants": 0}, lab.by)),
        ("no question with the number", lambda s: decisions.go_to(s, lab.id, 999, lab.by)),
    ):
        with pytest.raises(UsageError, match=match), lab.database.write() as session:
            refused(session)
