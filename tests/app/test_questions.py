import json

from db.database import Database
from db.questions import (
    NewQuestion,
    QuestionFilter,
    add_question,
    edit_question,
    list_questions,
)
from db.texts.cards import MAX_VARIANTS
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded
from tests.store_rows import make_answer, make_variant
from workbench.ui.components.forms import entries
from workbench.ui.components.text_cards import STEP_ANSWERS
from workbench.ui.questions.list import as_jsonl

HOSTILE = "<script>document.title='x'</script> ![p](http://example.com/p.png) \u202etxet"


def test_an_empty_store_says_how_to_bring_questions_in(open_app: OpenApp) -> None:
    read = words_of(open_app("questions"))
    assert "No questions yet" in read
    assert "Import the bundled examples" in read


def test_search_finds_two_japanese_characters(filled: Seeded, open_app: OpenApp) -> None:
    read = words_of(open_app("questions", find="電話"))
    assert "電車の中で電話をかける" in read
    assert "lighthouse" not in read


def test_filters_of_the_address_narrow_the_list(filled: Seeded, open_app: OpenApp) -> None:
    read = words_of(open_app("questions", role="creator", language="ja"))
    assert "静かな駅" in read
    assert "1 question" in read


def test_a_new_question_says_that_its_language_is_not_said(
    filled: Seeded, open_app: OpenApp
) -> None:
    app = open_app("questions")
    next(button for button in app.button if button.label == "Add").click().run()
    language = next(box for box in app.selectbox if "not said" in box.options)
    assert language.value is None
    assert language.placeholder == "not said"


def test_conditions_that_nothing_meets_can_be_cleared(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("questions", find="zebra crossing")
    assert "Nothing fits" in words_of(app)
    next(button for button in app.button if button.label == "Clear filters").click().run()
    assert "8 questions" in words_of(app)


def test_a_question_shows_its_texts_findings_and_exact_prompt(
    filled: Seeded, open_app: OpenApp
) -> None:
    app = open_app("questions", question=str(filled.question_ids[0]))
    read = words_of(app)
    assert "Why does bread go stale" in read
    assert "Starch retrogradation is fastest just above freezing." in read
    assert "answer leak" in read
    assert any("Why does bread go stale" in code.value for code in app.code)


def test_texts_beyond_the_first_are_shown_by_a_press_and_the_rest_has_a_link(
    store: Database, open_app: OpenApp
) -> None:
    with store.write() as session:
        asked, _ = add_question(session, NewQuestion(text="Why?"))
        for n in range(MAX_VARIANTS + 5):
            made = make_variant(session, asked, f"You should look {n} times.", source="human")
            for i in range(STEP_ANSWERS + 2 if n == 0 else 0):
                make_answer(session, asked, made, f"Answer {i} of the first.", source="human")
    app = open_app("questions", question=str(asked))
    assert "You should look 9 times." not in words_of(app)
    app.button(f"button_more_variants_{asked}").click().run()
    app.button("button_more_answers_v1").click().run()
    assert "You should look 9 times." in words_of(app)
    assert f"Answer {STEP_ANSWERS + 1} of the first." in words_of(app)
    app.session_state[f"more_variants_{asked}"] = MAX_VARIANTS
    app.run()
    assert f"You should look {MAX_VARIANTS - 1} times." in words_of(app)
    links = [one.proto.label for one in app.get("page_link")]
    assert f"All of them: {MAX_VARIANTS + 5} reasonings" in links


def test_an_unknown_question_is_said_to_be_unknown(filled: Seeded, open_app: OpenApp) -> None:
    assert "There is no question 99" in words_of(open_app("questions", question="99"))


def test_an_edit_and_its_origin_lead_to_each_other(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        first, _ = add_question(session, NewQuestion(text="What is tea?"))
        second, _ = edit_question(session, first, NewQuestion(text="What is green tea?"))
    assert f"became question {second}" in words_of(open_app("questions", question=str(first)))
    assert f"edited from question {first}" in words_of(open_app("questions", question=str(second)))


def test_hostile_text_is_shown_letter_by_letter(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        question_id, _ = add_question(session, NewQuestion(text=HOSTILE, category="![x](http://y)"))
    app = open_app("questions", question=str(question_id))
    assert HOSTILE in [text.value for text in app.text]
    assert not any("<script>" in str(element.value) for element in app.markdown)
    assert not any("![x](http" in str(element.value) for element in app.markdown)


def test_a_text_of_200000_characters_is_cut_with_a_note(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        question_id, _ = add_question(session, NewQuestion(text="長い文。" * 50_000))
    app = open_app("questions", question=str(question_id))
    assert "The first 20,000 of 200,000 characters are shown" in words_of(app)
    assert max(len(text.value) for text in app.text) == 20_000


def test_an_export_can_be_imported_again(store: Database, filled: Seeded) -> None:
    from db.questions import QuestionFilter, list_questions
    from serving.importers import import_questions, read_rows

    with store.read() as session:
        rows = list_questions(session, QuestionFilter(), 1, 100).rows
    data = as_jsonl(rows)
    assert len([json.loads(line) for line in data.decode().splitlines()]) == 8
    summary = import_questions(store, read_rows(data, name="questions.jsonl"))
    assert (summary.added, summary.skipped) == (0, 8)


def test_tags_are_read_with_commas_of_any_script() -> None:
    assert entries(" tea, 茶、green，tea ,", str) == ["tea", "茶", "green"]
    assert entries("３〜９、q12 14 - 16", int) == ["3-9", "q12", "14-16"]


def test_columns_are_in_view_where_none_of_them_is_known_as_the_question(
    store: Database, open_app: OpenApp
) -> None:
    app = open_app("questions", **{"import": "1"})
    for name, is_open in (("frage", True), ("question", False)):
        file = (f"{name}.csv", f"{name},gold\nWas ist Tee?,ein Getränk\n".encode(), "text/csv")
        app.file_uploader[0].set_value(file).run()
        (columns,) = [one for one in app.expander if one.label.startswith("Columns of the file")]
        assert columns.proto.expanded is is_open


def test_an_import_says_what_columns_stand_for_and_leads_to_a_sweep_of_its_questions(
    store: Database, open_app: OpenApp
) -> None:
    app = open_app("questions", **{"import": "1"})
    rows = [{"question": "What is tea?", "gold": "a drink", "unit": "1"}]
    data = "\n".join(map(json.dumps, rows)).encode()
    app.file_uploader[0].set_value(("tea.jsonl", data, "application/json")).run()
    chosen = {box.label: box.value for box in app.selectbox}
    assert (chosen["question"], chosen["gold"], chosen["unit"]) == ("text", "kept", "kept")
    next(box for box in app.selectbox if box.label == "gold").set_value("reference_answer").run()
    next(one for one in app.button if one.label == "Import 1 row").click().run()
    assert not app.exception
    assert "Sweep the questions of “tea”" in words_of(app)
    with store.read() as session:
        (found,) = list_questions(session, QuestionFilter(tags=("tea",))).rows
    assert (found.reference_answer, found.fields) == ("a drink", {"unit": "1"})
    folded = [one.label for one in open_app("questions", question=str(found.id)).expander]
    assert "Other fields of its file (1)" in folded
