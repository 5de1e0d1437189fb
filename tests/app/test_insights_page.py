"""Insights as a visitor sees it: what to do at first, figures later, people and models apart."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.rating.columns import RatingFilter
from db.tables import ModelVersion, Rater, Rating, ReasoningVariant
from tests.app.conftest import OpenApp, run_page, words_of
from tests.app.counting import counted_work
from tests.app.seed import Seeded
from tests.app.seed_ratings import Rated, seed_bulk_ratings, seed_ratings
from tests.store_rows import wait_for_counts
from workbench.insights import background
from workbench.insights.report import Insights, read_insights
from workbench.ui.components import live

HOSTILE = "![x](http://e.com/x.png) <script>alert(1)</script> :red[x] $y$"


@pytest.fixture(autouse=True)
def no_cache() -> None:
    st.cache_data.clear()


@pytest.fixture
def rated(store: Database, filled: Seeded) -> Rated:
    return seed_ratings(store, filled)


def plots(app: AppTest) -> list[dict[str, Any]]:
    """Return the specs of all plots, with their rows."""
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def test_an_empty_store_says_what_to_do(open_app: OpenApp) -> None:
    app = open_app("insights")
    assert "No ratings yet" in words_of(app)
    assert "about 30 comparisons" in words_of(app)
    assert plots(app) == []


def test_figures_appear_with_their_sentences(open_app: OpenApp, rated: Rated) -> None:
    app = open_app("insights")
    words = words_of(app)
    for said in (
        "What is preferred",
        "do not trust an order whose intervals overlap widely",
        "do not trust an order whose intervals overlap widely",
        "Few questions (8)",
        "For these 2 raters only",
        "0.2 against 0.8:",
        "Main effects of each factor",
        "Left out, since their levels changed together with others",
        "agree beyond chance",
        "Exactly the same, comparisons:",
        "Does the side decide?",
        "longer texts may also be better",
        "breaks of up to ten minutes count",
        "really different, on average over 8 questions",
        "never with those of other questions",
        "48 of 48 planned cards",
    ):
        assert said in words, said
    drawn = json.dumps(plots(app))
    assert len(plots(app)) >= 7
    assert "Temperature: 0.2" in drawn
    assert {"Aki", "Ben"} <= {name for name in ("Aki", "Ben") if name in drawn}
    marks = [layer["encoding"].get("shape", {}).get("field") for layer in plots(app)[0]["layer"]]
    assert "rater" in marks
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Comparisons"] == "58"
    assert metrics["Cards rated"] == "100 %"


def test_the_page_speaks_japanese(open_app: OpenApp, rated: Rated) -> None:
    app = open_app("insights", lang="ja")
    assert "何が好まれるか" in words_of(app)
    assert "平均的な相手に対する得点率" in json.dumps(plots(app), ensure_ascii=False)


def test_figures_at_equal_length_are_asked_for_by_the_address(
    open_app: OpenApp, rated: Rated
) -> None:
    assert "At equal length" not in words_of(open_app("insights"))
    app = open_app("insights", length="equal")
    assert "A text twice as long as the other takes" in words_of(app)
    assert "同じ長さにそろえた結果です" in words_of(open_app("insights", length="equal", lang="ja"))


def test_filters_narrow_what_is_told(open_app: OpenApp, rated: Rated) -> None:
    assert "No ratings here" in words_of(open_app("insights", scope="answer"))
    assert "No ratings here" in words_of(open_app("insights", by="model"))
    assert "What is preferred" in words_of(open_app("insights", queue=str(rated.queue_id)))
    assert "What is preferred" in words_of(open_app("insights", sweep="1"))
    assert "What is preferred" in words_of(open_app("insights", queue="999", sweep="x"))


def test_ratings_of_models_are_never_among_those_of_people(
    store: Database, open_app: OpenApp, rated: Rated
) -> None:
    with store.write() as session:
        model = session.scalars(select(ModelVersion.id)).first()
        session.execute(
            update(Rater)
            .where(Rater.id == rated.rater_ids[1])
            .values(kind="model", model_version_id=model)
        )
    by_people, by_models = open_app("insights"), open_app("insights", by="model")
    assert "Ben" not in json.dumps(plots(by_people))
    assert "Aki" not in json.dumps(plots(by_models))
    assert [m.value for app in (by_people, by_models) for m in app.metric[:1]] == ["29", "29"]


def test_repeats_undone_and_seen_ratings_are_no_part_of_rankings(
    store: Database, rated: Rated
) -> None:
    def ranked() -> int:
        with store.read() as session:
            return read_insights(session, RatingFilter()).counts.ranked

    whole = ranked()
    with store.write() as session:
        facts = session.scalars(
            select(Rating).where(Rating.outcome == "a", Rating.card_id.like("card-%")).limit(3)
        ).all()
        one, two, three = facts
        two.blind, three.answer_seen = False, True
        session.add(
            Rating(
                rater_id=one.rater_id,
                scope=one.scope,
                question_id=one.question_id,
                variant_id=one.variant_id,
                axis=one.axis,
                blind=True,
                card_id=f"{one.card_id}/undo",
                undoes_id=one.id,
            )
        )
    assert ranked() == whole - 3
    with store.read() as session:
        repeats = session.scalars(select(Rating).where(Rating.card_id.like("again-%"))).all()
        counts = read_insights(session, RatingFilter()).counts
    assert counts.repeats == len(repeats) == 10
    assert counts.comparisons == 57


def test_what_was_rated_since_is_told_at_once(
    store: Database, open_app: OpenApp, rated: Rated
) -> None:
    before = open_app("insights").metric[0].value
    with store.write() as session:
        one = session.scalars(select(Rating)).first()
        assert one is not None
        copy = {
            column.key: getattr(one, column.key)
            for column in Rating.__table__.columns
            if column.key != "id"
        }
        session.add(Rating(**copy | {"card_id": "new"}))
    assert int(open_app("insights").metric[0].value) == int(before) + 1


def test_hostile_words_and_names_are_shown_letter_by_letter(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    with store.write() as session:
        session.execute(update(ReasoningVariant).values(text=HOSTILE))
        session.execute(update(ModelVersion).values(name=HOSTILE))
    seed_ratings(store, filled, names=("<b>Aki</b>", "[Ben](http://e.com)"))
    app = open_app("insights")
    shown = [str(element.value) for element in (*app.markdown, *app.caption)]
    assert not any("![x]" in text or "<script" in text or "<b>" in text for text in shown)
    assert any(text.value == HOSTILE for text in app.text)


def test_one_question_is_chosen_by_the_address(open_app: OpenApp, rated: Rated) -> None:
    app = open_app("insights", question="3")
    assert "Question q3" in words_of(app)
    assert "The best set: good, and different from one another. Of 3 texts" in words_of(app)


def test_the_same_ratings_are_told_in_the_same_numbers(store: Database, rated: Rated) -> None:
    with store.read() as session:
        first, again = (read_insights(session, RatingFilter()) for _ in range(2))
    assert first == again
    assert (first.rankings[0].factor, first.rankings[0].places[0].name) == (
        "temperature",
        "temperature 0.2",
    )
    assert np.isclose(sum(place.strength for place in first.rankings[0].places), 0)


def test_a_second_look_costs_the_same_however_many_ratings_there_are(
    store: Database, rated: Rated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "AT_ONCE", 100_000)
    costs = []
    for n in (2_000, 8_000):
        seed_bulk_ratings(store, rated, n, first=10 * n)
        st.cache_resource.clear()
        with counted_work() as work:
            app = run_page("insights")
            before = replace(work)
            app.run()
        assert not app.exception
        costs.append((work.statements - before.statements, work.rows - before.rows))
    assert costs[0] == costs[1]
    assert costs[1][1] < 500


def test_many_ratings_are_counted_beside_the_app_while_the_last_figures_stand(
    store: Database, rated: Rated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "AT_ONCE", 0)
    monkeypatch.setattr(background, "REST_S", 0.0)
    app = run_page("insights")
    assert "being computed for the first time" in words_of(app)
    assert plots(app) == []
    wait_for_counts()
    app = run_page("insights")
    assert "Main effects of each factor" in words_of(app)
    assert "Figures as of" not in words_of(app)
    shown = read_figures_at_once(store)
    seed_bulk_ratings(store, rated, 50)
    app = run_page("insights")
    assert "Figures as of just now; newer ones are being computed" in words_of(app)
    assert f"Comparisons {shown.counts.comparisons}" in words_of(app)
    wait_for_counts()
    app = run_page("insights")
    assert f"Comparisons {shown.counts.comparisons + 50}" in words_of(app)


def test_figures_from_a_file_are_those_that_were_computed(store: Database, rated: Rated) -> None:
    found = read_figures_at_once(store)
    form = background._form("insights")
    told = json.loads(json.dumps(form.dump_python(found, mode="python")))
    assert form.validate_python(told) == found


def test_a_file_of_another_version_counts_as_none_and_a_failure_is_said(
    store: Database, rated: Rated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(live, "AT_ONCE", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    run_page("insights")
    wait_for_counts()
    app = run_page("insights")
    assert "could not be computed" in "\n".join(str(one.value) for one in app.warning)
    older = tmp_path / "older.json"
    older.write_text('{"form": 0}')
    assert background._read("insights", older) is None


def read_figures_at_once(store: Database) -> Insights:
    with store.read() as session:
        return read_insights(session, RatingFilter())
