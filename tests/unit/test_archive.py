"""What is archived is nowhere by default, and all that points at it stays."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from db.database import Database
from db.datasets import get_dataset, list_datasets
from db.dialogues import get_dialogue, list_dialogues
from db.errors import UsageError
from db.models import get_model, list_models
from db.questions import (
    NewQuestion,
    QuestionFilter,
    add_child,
    add_question,
    get_question,
    list_questions,
    question_facets,
    question_ids,
    tag_questions,
    take_into_pool,
)
from db.rating.queues import N_ITEMS, get_queue, list_queues
from db.rating.ratings import ensure_rater, find_rater, list_raters
from db.store.archive import KINDS, ArchiveKind, archive, restore
from db.sweeps import get_sweep, list_sweeps, set_state
from db.tables import ROLES, Dataset, Dialogue, Question, Rater, RatingQueue, Theme, TrainingRun
from db.texts.lists import TextFilter, list_texts
from db.training import get_run, list_runs
from serving.sweeps.selection import select_questions
from serving.sweeps.spec import QuestionSelection
from tests.store_rows import (
    make_library,
    make_question,
    make_sweep,
    make_variant,
)
from workbench.cli.main import app
from workbench.rating.sources import QueueSpec, find_questions

LISTS: dict[ArchiveKind, Any] = {
    "question": lambda session, archived: (
        list_questions(session, QuestionFilter(archived=archived)).rows
    ),
    "sweep": lambda session, archived: list_sweeps(session, archived=archived),
    "queue": lambda session, archived: list_queues(session, archived=archived),
    "rater": lambda session, archived: list_raters(session, archived=archived),
    "dialogue": lambda session, archived: list_dialogues(session, archived=archived),
    "dataset": lambda session, archived: list_datasets(session, archived=archived),
    "run": lambda session, archived: list_runs(session, archived=archived),
    "model": lambda session, archived: list_models(session, archived=archived),
}
PAGES: dict[ArchiveKind, Any] = {
    "question": get_question,
    "sweep": get_sweep,
    "queue": get_queue,
    "dialogue": get_dialogue,
    "dataset": get_dataset,
    "run": get_run,
    "model": get_model,
}


def one_of_each(database: Database) -> None:
    """Write two of every kind, with the ids 1 and 2."""
    with database.write() as session:
        make_library(session)
        theme = Theme(name="water", concept="c", goal="g")
        session.add(theme)
        session.flush()
        for name in ("one", "two"):
            make_question(session, name, role="creator", category=name, language="en")
            make_sweep(session, name)
            session.add_all(
                (
                    RatingQueue(name=name, way="single", scope="answer", spec={N_ITEMS: 1}),
                    Rater(name=name),
                    Dialogue(name=name, theme_id=theme.id),
                    Dataset(name=name, kind="sft", rules={}),
                )
            )
            session.flush()
            session.add(
                TrainingRun(
                    dataset_id=1, base_model_version_id=1, method="sft", config={}, state="done"
                )
            )
            session.flush()


@pytest.mark.parametrize("kind", KINDS)
def test_archived_is_out_of_its_list_opens_by_id_and_comes_back(
    database: Database, kind: ArchiveKind
) -> None:
    def listed(session: Any, archived: bool) -> set[int]:
        return {getattr(one, "id", None) or one.sweep_id for one in LISTS[kind](session, archived)}

    one_of_each(database)
    with database.write() as session:
        assert archive(session, kind, [1]) == 1
        assert archive(session, kind, [1, 2]) == 1, "one was archived already"
        assert restore(session, kind, [2]) == 1
    with database.read() as session:
        assert listed(session, False) == {2}
        assert listed(session, True) == {1}
        if kind in PAGES:
            assert PAGES[kind](session, 1).archived_at is not None
            assert PAGES[kind](session, 2).archived_at is None
    with database.write() as session:
        assert restore(session, kind, [1, 2]) == 1
    with database.read() as session:
        assert listed(session, False) == {1, 2}


def test_all_are_archived_or_none_and_no_running_work(database: Database) -> None:
    one_of_each(database)
    with database.write() as session, pytest.raises(UsageError, match="no number 9"):
        archive(session, "question", [1, 9])
    with database.write() as session:
        set_state(session, 2, "running")
    with database.write() as session, pytest.raises(UsageError, match="Number 2 is under way"):
        archive(session, "sweep", [1, 2])
    with database.read() as session:
        assert question_ids(session, QuestionFilter(archived=True)) == []
        assert list_sweeps(session, archived=True) == []


def test_more_questions_than_a_statement_takes_are_picked_at_once(database: Database) -> None:
    n = 33_000
    with database.write() as session:
        values = [{"text": f"Question {i}", "content_hash": str(i)} for i in range(n)]
        session.execute(Question.__table__.insert(), values)  # type: ignore[attr-defined]
        everyone = question_ids(session, QuestionFilter())
        assert question_ids(session, QuestionFilter(ids=tuple(everyone[::-1]))) == everyone
        assert archive(session, "question", everyone) == len(everyone) == n
        assert take_into_pool(session, everyone) == n, "which brings them back"


def test_values_of_archived_questions_are_not_offered(database: Database) -> None:
    one_of_each(database)
    with database.write() as session:
        tag_questions(session, [1, 2], ["both"])
        tag_questions(session, [1], ["first"])
        archive(session, "question", [1])
    with database.read() as session:
        facets = question_facets(session)
    assert (facets.total, facets.tags, facets.roles) == (1, {"both": 1}, {"creator": 1})
    assert (facets.categories, facets.languages) == ({"two": 1}, {"en": 1})


def test_both_lists_of_questions_are_read_in_order_from_an_index(database: Database) -> None:
    with database.read() as session:
        for archived, index in (
            ("NULL", "ix_question_newest"),
            ("NOT NULL", "ix_question_archived"),
        ):
            plan = session.execute(
                text(
                    "EXPLAIN QUERY PLAN SELECT id FROM question"
                    f" WHERE archived_at IS {archived} ORDER BY created_at DESC, id DESC LIMIT 25"
                )
            ).all()
            assert index in plan[0].detail
            assert len(plan) == 1, "nothing is sorted"


def test_texts_of_archived_questions_are_not_searched_but_stay_in_their_sweep(
    database: Database,
) -> None:
    one_of_each(database)
    with database.write() as session:
        make_variant(session, 1, "You should look at the sky.", sweep_id=1)
        make_variant(session, 2, "You should look at the sea.")
    everything = TextFilter(kind="variant")
    with database.read() as session:
        assert list_texts(session, everything).total == 2
    with database.write() as session:
        archive(session, "question", [1])
    with database.read() as session:
        assert [row.question_id for row in list_texts(session, everything).rows] == [2]
        assert list_texts(session, replace(everything, search="sky")).total == 0
        assert list_texts(session, replace(everything, sweep_id=1)).total == 1
        assert list_texts(session, replace(everything, question_ids=(1,))).total == 1


def test_what_people_write_or_import_again_is_in_use_again(database: Database) -> None:
    one_of_each(database)
    with database.write() as session:
        archive(session, "question", [1])
        archive(session, "rater", [1])
        asked = get_question(session, 1)
        known = NewQuestion(text=asked.text, role=asked.role)
        assert add_question(session, known) == (3, True), "rows of tests have hashes of their own"
        archive(session, "question", [3])
        assert add_question(session, known) == (3, False)
        assert get_question(session, 3).archived_at is None
        assert ensure_rater(session, "one") == 1
        assert find_rater(session, "1") == find_rater(session, "one")
        assert [one.name for one in list_raters(session)] == ["one", "two"]


def test_questions_of_dialogues_wait_until_they_are_taken_into_the_pool(
    database: Database,
) -> None:
    one_of_each(database)
    everyone = QuestionSelection()
    spec = QueueSpec(name="all", way="single", scope="question")
    with database.write() as session:
        new = NewQuestion(text="And then?", source="model")
        made, _ = add_child(session, 1, new, "deepen")
        assert add_child(session, 1, new, "deepen") == (made, False)
    with database.read() as session:
        assert list_questions(session, QuestionFilter()).total == 3, "lists show it"
        assert question_ids(session, QuestionFilter(in_pool=False)) == [made]
        assert select_questions(session, everyone, ROLES) == [1, 2]
        assert select_questions(session, QuestionSelection(ids=(made,)), ROLES) == [made]
        in_range = QuestionSelection(ids=(f"2-{made}",))  # which names nothing by itself
        assert select_questions(session, in_range, ROLES) == [2]
        assert select_questions(session, everyone, ROLES, only_pool=False) == [1, 2, made]
        assert sorted(find_questions(session, spec)) == [1, 2]
    with database.write() as session:
        assert take_into_pool(session, [1, made]) == 1
        assert select_questions(session, everyone, ROLES) == [1, 2, made]
        archive(session, "question", [made])
        assert select_questions(session, everyone, ROLES) == [1, 2]
        assert sorted(find_questions(session, spec)) == [1, 2]
        with pytest.raises(UsageError, match=r"q3 is archived; .*`q2q question restore 3`"):
            select_questions(session, QuestionSelection(ids=(1, made)), ROLES)


def test_commands_take_ranges_and_names(database: Database) -> None:
    one_of_each(database)

    def run(*words: str) -> Any:
        shown = CliRunner().invoke(app, [*words, "--json"])
        assert shown.exit_code == 0, shown.exception
        return json.loads(shown.stdout)

    assert run("question", "archive", "1-9") == {"ids": [1, 2], "changed": 2}
    assert run("question", "restore", "q2", "2") == {"ids": [2], "changed": 1}
    assert [one["id"] for one in run("question", "list", "--archived")] == [1]
    assert run("question", "take", "1-2") == {"ids": [1, 2], "changed": 1}, "it was archived"
    assert run("dataset", "archive", "one,d2") == {"ids": [1, 2], "changed": 2}
    assert run("dataset", "show") == []
    assert run("rater", "archive", "two")["ids"] == [2]
    assert [one["name"] for one in run("rater", "list")] == ["one"]
    for wrong in ("sweep archive x", "sweep archive 7-9", "train archive 9", "rater archive no"):
        shown = CliRunner().invoke(app, wrong.split())
        assert isinstance(shown.exception, UsageError), wrong
