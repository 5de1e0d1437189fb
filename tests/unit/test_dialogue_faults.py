"""Whatever a model or a server does, a turn ends with what there is and a sentence about it."""

import json

import pytest

from db.database import Database
from db.dialogues import read_events
from db.errors import UsageError
from db.jobs import request_cancel
from serving.formats.parse import read_questions
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab, asking
from workbench.dialogue.decisions import choose, park, pick, reject, write
from workbench.dialogue.finishing import finish_left, stop
from workbench.dialogue.turn import answer, ask


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    lab = Lab(database, fake_server)
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    return lab


@pytest.mark.parametrize(
    ("text", "read", "told"),
    [
        ("I would rather not.", 0, "there is no list"),
        ("[]", 0, "the list is empty"),
        ('["", "?", "...", "1."]', 0, "the list is empty"),
        ('["Who sweeps the streets?", "Who pays f', 1, "the list was cut off"),
        ("1. Who sweeps the streets?\n2. Who pays for it?", 2, "the list is no JSON"),
        ('Sure: {"questions": ["Who sweeps?", 7, null]}', 1, None),
        ('["<script>alert(1)</script>?"]', 1, None),
    ],
)
def test_malformed_lists_give_what_can_be_read(
    lab: Lab, text: str, read: int, told: str | None
) -> None:
    lab.server.text = lambda prompt, index, seed: text
    view = lab.ask("deepen")
    assert len(view.candidates) == read
    problems = " ".join(view.problems)
    assert (told or "") in problems
    assert ("No question came that could be read." in problems) == (read == 0)
    assert view.chosen is not None, "what was chosen stays"


def test_lines_that_only_repeat_the_prompt_are_no_questions(lab: Lab) -> None:
    asked = lab.view().question.text
    echo = "Propose five next questions that this question and its answer lead to."
    text = json.dumps([echo, asked, "Who sweeps the streets?"])
    lab.server.text = lambda prompt, index, seed: text
    view = lab.ask("gap")
    assert {c.text: c.is_repeat for c in view.candidates} == {
        asked: True,
        "Who sweeps the streets?": False,
    }
    assert "gap: 1 lines only repeat the prompt." in view.problems


def test_a_proposal_of_the_question_at_hand_is_folded_and_cannot_be_taken_as_it_is(
    lab: Lab,
) -> None:
    asked = lab.view().question.text
    text = json.dumps([asked.upper(), "Who sweeps the streets?"])
    lab.server.text = lambda prompt, index, seed: text
    view = lab.ask("gap")
    shown, here = view.candidates
    assert (shown.folded_because, here.folded_because) == (None, "here")
    for taken in (pick, park):
        with lab.database.write() as session, pytest.raises(UsageError, match="in your own words"):
            taken(session, lab.id, lab.here, here.event_id, here.place, lab.by)
    assert lab.view().candidates[1].decision is None, "nothing is left half decided"
    with lab.database.write() as session:
        given = (session, lab.id, lab.here, here.event_id, here.place, lab.by)
        pick(*given, text="What changes for a town when cars may enter it again?")
    assert lab.view().question.text.endswith("again?")


def test_what_was_rejected_or_shown_here_is_not_shown_again(lab: Lab) -> None:
    texts = ["Who sweeps the streets?", "How loud is a tram?", "What does a parking space cost?"]
    lab.server.text = lambda prompt, index, seed: json.dumps(texts[:2])
    first = {one.text: one for one in lab.ask("gap").candidates}
    with lab.database.write() as session:
        one = first[texts[0]]
        reject(session, lab.id, lab.here, one.event_id, one.place, lab.by)
    lab.server.text = lambda prompt, index, seed: (
        json.dumps(texts) if "Propose five" in prompt else asking(prompt, index, seed)
    )
    again = {one.text: one for one in lab.ask("gap").candidates}
    assert {text: one.folded_because for text, one in again.items()} == {
        texts[0]: "rejected",
        texts[1]: "proposed",
        texts[2]: None,
    }
    with lab.database.write() as session:
        child = write(session, lab.id, lab.here, "Who counted the cars?", lab.by)
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, child, view.shown[0].answer.id, lab.by)
    below = {one.text: one.folded_because for one in lab.ask("gap").candidates}
    assert below == {texts[0]: "rejected", texts[1]: None, texts[2]: None}, "elsewhere it may come"


def test_questions_in_another_language_are_folded_but_can_be_taken(lab: Lab) -> None:
    text = json.dumps(["夜に通りを掃くのは誰ですか。", "Who sweeps the streets?", "夜間通行禁止"])
    lab.server.text = lambda prompt, index, seed: text
    found = {one.text: one for one in lab.ask("gap").candidates}
    japanese = found["夜に通りを掃くのは誰ですか。"]
    assert (japanese.folded_because, japanese.language) == ("language", "ja")
    assert found["Who sweeps the streets?"].is_shown
    assert found["夜間通行禁止"].is_shown, "where the language is not clear, nothing is folded"
    with lab.database.write() as session:
        place = (japanese.event_id, japanese.place)
        pick(session, lab.id, lab.here, *place, lab.by)
    assert lab.view().question.text == japanese.text


def test_where_all_proposals_are_in_another_language_the_turn_says_so(lab: Lab) -> None:
    lab.server.text = lambda prompt, index, seed: '["夜に通りを掃くのは誰ですか。"]'
    view = lab.ask("gap")
    assert not any(one.is_shown for one in view.candidates)
    assert (
        "Every proposed question was asked or proposed before or is in another language."
        in view.problems
    )


def test_forty_candidates_that_are_all_the_same_are_one_and_its_repeats(lab: Lab) -> None:
    same = json.dumps(["Who sweeps the streets at night?"])
    lab.server.text = lambda prompt, index, seed: same
    view = lab.ask("deepen", "rebut", "gap", "ground", lists=10)
    assert len(view.candidates) == 40
    assert sum(candidate.is_shown for candidate in view.candidates) == 1
    assert sum(candidate.is_repeat for candidate in view.candidates) == 39


def test_a_stalled_request_leaves_the_others(lab: Lab) -> None:
    lab.server.script("stall", "ok", "stall")
    with lab.database.write() as session:
        step = ask(
            session, lab.registry, lab.id, lab.here, lab.by, moves=["deepen", "rebut", "gap"]
        )
    view = lab.run(step, timeout_s=0.5, max_num_seqs=1)
    assert 0 < len(view.candidates) < 15
    assert "of 3 texts failed" in view.problems[-1]
    assert len(lab.ask("deepen", "rebut", "gap").candidates) > 0


def test_a_dead_server_ends_the_turn_with_a_sentence_and_the_next_try_works(lab: Lab) -> None:
    lab.server.default = "error_500"
    view = lab.ask("deepen")
    assert view.candidates == ()
    assert "1 of 1 texts failed" in view.problems[0]
    lab.server.default = "ok"
    assert lab.ask("deepen").step == "pick"


def test_a_step_that_is_stopped_keeps_what_had_come(lab: Lab) -> None:
    with lab.database.write() as session:
        step = answer(session, lab.registry, lab.id, lab.here, lab.by)
        assert stop(session, lab.id) == 1
    assert not lab.view().under_way[0].job.is_active
    finish_left(lab.database)
    view = lab.view()
    assert view.under_way == ()
    assert "No new answer came." in view.problems
    assert len(view.folded) == 3
    assert step.event_id in {event.step_id for event in view.events}


def test_what_a_step_brought_is_stored_once(lab: Lab) -> None:
    with lab.database.write() as session:
        step = ask(session, lab.registry, lab.id, lab.here, lab.by, moves=["gap"])
        request_cancel(session, step.job_id)
    assert finish_left(lab.database) == 1
    assert finish_left(lab.database) == 0
    with lab.database.read() as session:
        kinds = [event.kind for event in read_events(session, lab.id)]
    assert kinds.count("questions_shown") == 1


def test_lists_keep_their_complete_items_only() -> None:
    whole = asking("Propose five next questions", 0, None)
    for end in range(len(whole)):
        read = read_questions(whole[:end], cut=True)
        assert list(read.items) == json.loads(whole)[: len(read.items)]
        assert read.problem is not None
    assert read_questions(whole, cut=False).problem is None


def test_numbers_before_the_items_of_a_list_are_no_part_of_a_question() -> None:
    text = json.dumps(
        ["1. Who pays?", "(2) Who pays?", "- 誰が払いますか。", "3.5 litres of what?"]
    )
    assert read_questions(text, cut=False).items == (
        "Who pays?",
        "誰が払いますか。",
        "3.5 litres of what?",
    )
