"""Explore: the matrix and its filters, an item of each kind, two texts side by side."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.identity import text_hash
from db.questions import NewQuestion, add_question
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater
from db.tables import Answer, ReasoningVariant, VariantParent
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded, seed_bulk, seed_failures
from workbench.ui.components.text import marked_sides

HOSTILE = {
    "html": "<b>bold</b><script>document.title='x'</script>",
    "image": "![p](http://example.com/p.png) [a](javascript:alert(1))",
    "markdown": "# Head\n* list\n:red[x] `code` $x^2$ ~~out~~ | a | b |",
    "direction": "\u202etxet desrever\u2066 \u200f\u200d",
    "empty": " \n\t ",
    "nothing": "",
}
LONG = "長い文。" * 50_000


def write_variant(database: Database, question_id: int, text: str, **values: object) -> int:
    with database.write() as session:
        row = ReasoningVariant(
            question_id=question_id,
            text=text,
            source="edited",
            content_hash=text_hash(text),
            **values,
        )
        session.add(row)
        session.flush()
        return row.id


def labels(app: AppTest) -> list[str]:
    return [button.label.replace("\\", "") for button in app.button]


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception, app.exception
    return app


def shown_cells(app: AppTest) -> list[str]:
    return [button.key[5:] for button in app.button if re.match("open_[va]", button.key or "")]


def test_an_empty_store_says_how_to_bring_questions_in(open_app: OpenApp) -> None:
    app = open_app("explore")
    assert "No questions yet" in words_of(app)
    assert not app.selectbox


def test_questions_without_texts_lead_to_a_sweep(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        add_question(session, NewQuestion(text="What is tea?"))
    assert "A sweep writes reasonings and answers" in words_of(open_app("explore"))


def test_the_matrix_shows_each_question_with_its_reasonings(
    filled: Seeded, open_app: OpenApp
) -> None:
    app = open_app("explore")
    read = words_of(app)
    assert "8 questions" in read
    assert shown_cells(app) == [
        f"v{i}" for q in range(8, 0, -1) for i in range(3 * q - 2, 3 * q + 1)
    ]
    assert any(
        label.startswith("You should explain what happens to starch") for label in labels(app)
    )
    assert "answer leak" in read


@pytest.mark.parametrize(
    ("parameters", "questions"),
    [
        ({"find": "電話"}, ["q2"]),
        ({"language": "zh"}, ["q6"]),
        ({"tag": "kitchen"}, ["q1"]),
        ({"role": "translator"}, ["q4"]),
        ({"check": "answer_leak"}, ["q3", "q1"]),
        ({"check": "boilerplate", "of": "variant"}, ["q7"]),
        ({"check": "answer_leak", "language": "en"}, ["q3", "q1"]),
        (
            {"sweep": "1", "model": "1", "format": "chat@1", "finish": "length", "tag": "kitchen"},
            ["q1"],
        ),
        ({"sweep": "1", "model": "1", "check": "answer_leak", "tag": "daily life"}, []),
        ({"sweep": "9", "check": "no such", "rating": "x", "tag": "kitchen"}, ["q1"]),
        ({"rating": "liked"}, []),
    ],
)
def test_filters_of_the_address_narrow_the_matrix(
    filled: Seeded, open_app: OpenApp, parameters: dict[str, str], questions: list[str]
) -> None:
    app = open_app("explore", **parameters)
    rows = [button.key[5:] for button in app.button if re.match("open_q", button.key or "")]
    assert rows == questions


def test_each_value_of_a_filter_has_its_count(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("explore")
    options = {box.label: list(box.options) for box in app.selectbox}
    assert options["Sweep"] == ["First look: two temperatures (72)"]
    assert "Chinese (1)" in options["Language"]
    assert "answer leak (2)" in options["Finding"]
    app.selectbox(key="url_language").set_value("zh").run()
    assert app.query_params["language"] == "zh"
    assert "1 question" in words_of(app)


def test_new_texts_are_counted_at_once(filled: Seeded, store: Database, open_app: OpenApp) -> None:
    app = open_app("explore")
    seed_bulk(store, filled, 20)
    app.run()
    assert "First look: two temperatures (92)" in app.selectbox(key="url_sweep").options


def test_nothing_found_can_be_cleared(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("explore", find="zebra crossing")
    assert "Nothing fits" in words_of(app)
    next(button for button in app.button if button.label == "Clear filters").click().run()
    assert "8 questions" in words_of(app)


def test_a_cell_opens_its_item_and_the_way_back_keeps_the_filters(
    filled: Seeded, open_app: OpenApp
) -> None:
    app = press(open_app("explore", tag="kitchen"), "open_v1")
    assert app.query_params["id"] == "v1"
    assert app.title[0].value == "Reasoning v1"
    next(button for button in app.button if button.label == "Back to the list").click().run()
    assert "id" not in app.query_params
    assert shown_cells(app) == ["v1", "v2", "v3"]


def test_more_reasonings_than_columns_are_on_the_page_of_the_question(
    filled: Seeded, store: Database, open_app: OpenApp
) -> None:
    for number in range(3):
        write_variant(store, 1, f"You should count to {number}.")
    app = open_app("explore", tag="kitchen")
    assert shown_cells(app) == ["v1", "v2", "v3", "v25"]
    app = press(app, "more_q1")
    assert shown_cells(app) == ["v1", "v2", "v3", "v25", "v26", "v27"]


@pytest.mark.parametrize(
    ("name", "title", "expected"),
    [
        ("q1", "Question q1", ["Why does bread go stale", "science", "Reference answer"]),
        ("v1", "Reasoning v1", ["You should explain", "First look", "a1", "g1", "q1", "m1"]),
        ("a1", "Answer a1", ["Staling is mostly", "v1", "Under the reasoning"]),
        ("g1", "Generation g1", ["You should explain", "v1", "<|im_start|>system"]),
        ("m1", "Model m1", ["smollm2-135m-instruct", "base model", "Generations (72)"]),
    ],
)
def test_each_kind_of_item_has_a_page_with_its_lineage(
    filled: Seeded, open_app: OpenApp, name: str, title: str, expected: list[str]
) -> None:
    app = open_app("explore", id=name)
    assert app.title[0].value == title
    read = words_of(app)
    links = [str(link.proto.label) for link in app.get("page_link")]
    for part in expected:
        assert part in read + "".join(links)
    assert "Comes from" in read
    assert "Led to" in read
    assert any(code.value.endswith(f"?id={name}") for code in app.code)


def test_lineage_leads_from_item_to_item(filled: Seeded, open_app: OpenApp) -> None:
    app = press(open_app("explore", id="a1"), "up_under_v1")
    assert app.title[0].value == "Reasoning v1"
    app = press(app, "down_answers_a2")
    assert app.title[0].value == "Answer a2"
    app = press(app, "up_model_m1")
    assert app.title[0].value == "Model m1"


def test_an_edit_and_its_origin_lead_to_each_other(
    filled: Seeded, store: Database, open_app: OpenApp
) -> None:
    edit = write_variant(store, 1, "You should think.")
    with store.write() as session:
        session.add(VariantParent(variant_id=edit, parent_id=1))
    assert "Edited into" in words_of(open_app("explore", id="v1"))
    app = press(open_app("explore", id=f"v{edit}"), "up_made_from_v1")
    assert app.title[0].value == "Reasoning v1"


def test_a_failed_generation_says_why(filled: Seeded, store: Database, open_app: OpenApp) -> None:
    seed_failures(store, filled, 1)
    assert "The server closed the connection" in words_of(open_app("explore", id="g73"))


@pytest.mark.parametrize(
    "name", ["zzz", "v999", "![x](http://e.com/x.png)", "v1 OR 1=1", "v" + "9" * 17]
)
def test_an_unknown_item_is_said_to_be_unknown(
    filled: Seeded, open_app: OpenApp, name: str
) -> None:
    app = open_app("explore", id=name)
    assert "There is no" in app.error[0].value
    assert "![x](" not in app.error[0].value
    assert not app.title


def rate(database: Database) -> None:
    with database.write() as session:
        aki = ensure_rater(session, "Aki <b>")
        v1, v2 = (Target(question_id=1, variant_id=i) for i in (1, 2))
        shared = {"rater_id": aki, "scope": "reasoning", "blind": True}
        add_ratings(
            session,
            [
                NewRating(**shared, target=v1, axis="clear", value=5, card_id="1", note="![x](y)"),
                NewRating(**shared, target=v2, axis="clear", value=1, card_id="2"),
                NewRating(
                    **shared, target=v1, other=v2, axis="preference", outcome="a", card_id="3"
                ),
            ],
        )


def test_ratings_are_shown_in_cells_and_on_the_page_of_the_item(
    filled: Seeded, store: Database, open_app: OpenApp
) -> None:
    rate(store)
    assert shown_cells(open_app("explore", rating="liked")) == ["v1"]
    assert shown_cells(open_app("explore", rating="disliked", tag="kitchen")) == ["v2"]
    read = words_of(open_app("explore", tag="kitchen"))
    assert ":material/star: 5.0 (1) · won 1 of 1" in read
    app = open_app("explore", id="v2")
    said = app.dataframe[0].value
    assert list(said["Said"]) == ["1", "worse than v1"]
    assert list(said["Rater"]) == ["Aki <b>", "Aki <b>"]


def test_two_texts_of_a_question_stand_side_by_side(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("explore", id="v1")
    box = app.selectbox(key="url_with")
    assert [option.split(" ")[0] for option in box.options][:3] == ["v2", "v3", "a1"]
    box.set_value("v2").run()
    assert app.query_params["with"] == "v2"
    assert app.title[0].value == "v1 beside v2"
    left, right = (m.value for m in app.markdown if "-background[" in m.value)
    assert ":red-background[" in left
    assert ":green-background[" not in left
    assert ":green-background[" in right
    assert "You should explain what happens to starch" in re.sub(
        r":\w+-background\[|[]\\]", "", left
    )
    plain = open_app("explore", id="v1", **{"with": "a1"}, view="plain")
    assert not any("-background[" in m.value for m in plain.markdown)
    assert any(text.value.startswith("Staling is mostly") for text in plain.text)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("v1", "v4", "different questions"),
        ("v1", "v99", "There is no"),
        ("q1", "v1", "There is no"),
    ],
)
def test_what_cannot_be_compared_is_said(
    filled: Seeded, open_app: OpenApp, first: str, second: str, said: str
) -> None:
    assert said in words_of(open_app("explore", id=first, **{"with": second}))


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_texts_are_shown_letter_by_letter(
    filled: Seeded, store: Database, open_app: OpenApp, kind: str
) -> None:
    text = HOSTILE[kind]
    own = write_variant(store, 1, text)
    with store.write() as session:
        session.add(
            Answer(question_id=1, variant_id=own, text=text, source="edited", content_hash="h")
        )
    for parameters in (
        {"tag": "kitchen"},
        {"id": "q1"},
        {"id": f"v{own}"},
        {"id": f"v{own}", "with": "v1"},
        {"id": "v1", "with": f"v{own}"},
        {"id": "v1"},
        {"id": "a49"},
    ):
        app = open_app("explore", **parameters)
        drawn = [element.value for part in (app.markdown, app.caption) for element in part]
        drawn += [button.label for button in app.button]
        for value in drawn:
            assert not re.search(r"<(b|script)>|(?<!\\)!\[|\]\((?:http|javascript)", value)
            assert not re.search("[\u202a-\u202e\u2066-\u2069\u200f]", value)
    app = open_app("explore", id=f"v{own}")
    assert text in [element.value for element in app.text] or "(no text)" in words_of(app)


def test_a_text_of_200000_characters_is_cut_until_all_is_asked_for(
    filled: Seeded, store: Database, open_app: OpenApp
) -> None:
    own = write_variant(store, 1, LONG)
    for parameters in ({"tag": "kitchen"}, {"id": "q1"}, {"id": f"v{own}", "with": "v1"}):
        app = open_app("explore", **parameters)
        texts = [e.value for part in (app.text, app.markdown, app.caption) for e in part]
        assert max(map(len, texts)) <= 20_000
    assert "not compared word by word" in words_of(app)
    app = open_app("explore", id=f"v{own}")
    assert "The first 20,000 of 200,000 characters are shown" in words_of(app)
    assert max(len(text.value) for text in app.text) == 20_000
    next(button for button in app.button if button.label == "Show all").click().run()
    assert max(len(text.value) for text in app.text) == 200_000


def test_a_long_question_is_cut_as_well(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        question_id, _ = add_question(session, NewQuestion(text=LONG))
    write_variant(store, question_id, "You should read.")
    assert max(map(len, labels(open_app("explore")))) < 200
    app = open_app("explore", id=f"q{question_id}")
    assert max(len(text.value) for text in app.text) == 20_000


def test_the_pages_speak_japanese(filled: Seeded, open_app: OpenApp) -> None:
    assert "質問と推論の一覧" in words_of(open_app("explore", lang="ja"))
    assert "元になったもの" in words_of(open_app("explore", id="v1", lang="ja"))


def test_differences_are_marked_in_words_of_any_language() -> None:
    assert marked_sides("赤い花が咲く", "青い花が咲く", 100) == (
        ":red-background[赤]い花が咲く",
        ":green-background[青]い花が咲く",
    )
    assert marked_sides("one two", "one three", 100) == (
        "one :red-background[two]",
        "one :green-background[three]",
    )
    assert marked_sides("so a b c", "so x y c", 100) == (
        "so :red-background[a b] c",
        "so :green-background[x y] c",
    )
    assert marked_sides("a b", "", 100) == (":red-background[a b]", "")
    assert marked_sides("很长 " * 60, "短", 100) is None
