"""An import is all or nothing, for whoever looks and however it ends, and keeps nobody waiting."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

import db.database
import serving.importers.writing
from db.database import Database, open_database
from db.errors import Q2QError, UsageError
from db.lineage.read import lineage
from db.questions import (
    NewQuestion,
    QuestionFilter,
    add_question,
    list_questions,
    question_facets,
    question_ids,
    role_names,
)
from db.search import has_more_hits, search_ids
from db.store.schema import VIEWS
from db.store.staging import ImportRuns, import_lock, tidy
from db.tables import (
    Answer,
    Base,
    CheckFlag,
    Question,
    QuestionTag,
    ReasoningVariant,
    SentenceUse,
)
from db.texts.lists import TextFilter, list_texts
from serving.importers import ImportSummary, import_questions, read_rows
from tests.fakes.fixtures import ROOT
from workbench.cli.exporting import question_lines

N_ROWS = 120
SHARED = "You should think of the water in the air first."


def rows(n_rows: int = N_ROWS, **more: Any) -> bytes:
    """Return questions with a reasoning of which one sentence is boilerplate, and an answer."""
    return "\n".join(
        json.dumps(
            {
                "instruction": f"Why is thing number {n} blue?",
                "reasoning": f"{SHARED} You should name number {n}.",
                "output": f"It scatters light number {n}.",
                "tags": ["new", "known"],
                **more,
            }
        )
        for n in range(n_rows)
    ).encode()


@pytest.fixture(autouse=True)
def many_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every batch of a few rows committed."""
    monkeypatch.setattr(db.database, "LONGEST_S", 0)
    monkeypatch.setattr(db.database, "REST_S", 0)
    monkeypatch.setattr(serving.importers.writing, "_BATCH", 20)


@pytest.fixture
def store(database: Database) -> Database:
    """A store with a question that the import adds to, and one of its reasonings' sentences."""
    known = {"instruction": "Why is thing number 0 blue?", "reasoning": SHARED, "tags": "known"}
    import_questions(database, read_rows(json.dumps(known).encode(), name="known.jsonl"))
    return database


def everything(database: Database) -> dict[str, list[Any]]:
    with database.engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in Base.metadata.sorted_tables
        }


def seen(database: Database) -> dict[str, Any]:
    """Return what pages, lists, searches and views show, as one who just opens the store."""
    other = open_database(str(database.engine.url))
    with other.read() as session:
        shown: dict[str, Any] = {
            "questions": list_questions(session, QuestionFilter()).total,
            "ids": question_ids(session, QuestionFilter()),
            "answered": question_ids(session, QuestionFilter(has_answers=True)),
            "facets": question_facets(session),
            "variants": list_texts(session, TextFilter(kind="variant")).total,
            "answers": list_texts(session, TextFilter(kind="answer")).total,
            "found": [search_ids(session, kind, "number") for kind in ("question", "answer")],
            "first found": search_ids(session, "question", "blue", limit=1),
            "more": has_more_hits(session, "question", "blue", 1),
        }
        for entity in (Question, ReasoningVariant, Answer, CheckFlag, SentenceUse, QuestionTag):
            shown[entity.__name__] = session.scalar(select(func.count()).select_from(entity))
        nested = select(Question.id).where(
            select(Answer.id).where(Answer.question_id == Question.id).exists()
        )
        shown["nested"] = len(session.scalars(nested.union_all(select(Answer.id))).all())
        for view in VIEWS:
            shown[view] = session.scalar(text(f"SELECT count(*) FROM {view}"))
        shown["v_question"] = session.execute(text("SELECT * FROM v_question")).all()
    shown["export"] = list(question_lines(other, QuestionFilter()))
    other.close()
    return shown


def bring(database: Database, on_writing: Callable[[int], None], data: bytes) -> ImportSummary:
    def tell(phase: str, done: int, total: int) -> None:
        if phase == "writing":
            on_writing(done)

    return import_questions(database, read_rows(data, name="rows.jsonl"), on_progress=tell)


def check_search_index(database: Database) -> None:
    """Have FTS5 compare its index with the texts; it raises where they differ."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO search_index(search_index, rank) VALUES ('integrity-check', 1)"
        )


def test_nobody_sees_anything_of_an_import_before_its_end(store: Database) -> None:
    before = seen(store)
    during: list[dict[str, Any]] = []
    done = bring(store, lambda _: during.append(seen(store)), rows())
    assert len(during) > 20
    assert all(one == before for one in during)
    after = seen(store)
    assert done.added == N_ROWS - 1
    assert (after["questions"], after["Question"]) == (N_ROWS, N_ROWS)
    assert (after["variants"], after["answers"]) == (N_ROWS + 1, N_ROWS)
    assert after["facets"].tags == {"known": N_ROWS, "new": N_ROWS}
    assert len(after["found"][0]) == len(after["found"][1]) == N_ROWS
    assert len(after["v_question"]) == len(after["export"]) == N_ROWS
    check_search_index(store)


def test_texts_that_were_there_gain_what_the_import_finds_about_them(store: Database) -> None:
    with store.read() as session:
        assert session.scalars(select(CheckFlag.name)).all() == []
    bring(store, lambda _: None, rows())
    with store.read() as session:
        flagged = select(CheckFlag.variant_id).where(CheckFlag.name == "boilerplate")
        assert len(session.scalars(flagged).all()) == N_ROWS + 1
        uses = session.scalars(select(SentenceUse.question_id).order_by(SentenceUse.id)).all()
    assert len(uses) < 3 * N_ROWS  # of what is boilerplate only as many as tell it


@pytest.mark.parametrize("moment", [1, 130, 400])
def test_an_import_that_is_stopped_leaves_nothing(store: Database, moment: int) -> None:
    before = everything(store)

    def stop(done: int) -> None:
        if done >= moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(store, stop, rows())
    assert everything(store) == before
    check_search_index(store)
    assert bring(store, lambda _: None, rows()).added == N_ROWS - 1


KILLED = """
import os, signal, sys
from pathlib import Path
import db.database, serving.importers.writing
from db.database import open_database
from serving.importers import import_questions, read_rows
db.database.LONGEST_S = 0
serving.importers.writing._BATCH = 20
def tell(phase, done, total):
    if phase == "writing" and done > 300:
        os.kill(os.getpid(), signal.SIGKILL)
rows = read_rows(Path(sys.argv[2]))
import_questions(open_database(sys.argv[1]), rows, on_progress=tell)
"""


def killed_import(database: Database, folder: Path) -> None:
    file = folder / "rows.jsonl"
    file.write_bytes(rows())
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(database.engine.url), str(file)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_import_left_is_seen_by_nobody_and_removed(
    store: Database, tmp_path: Path
) -> None:
    before, shown = everything(store), seen(store)
    killed_import(store, tmp_path)
    assert everything(store) != before
    assert seen(store) == shown
    tidy(store)
    assert everything(store) == before
    assert store.path is not None
    assert not [path for path in store.path.parent.iterdir() if path.name.startswith(".import-")]


def test_the_next_import_removes_what_a_killed_one_left(store: Database, tmp_path: Path) -> None:
    killed_import(store, tmp_path)
    done = bring(store, lambda _: None, rows())
    assert (done.added, seen(store)["questions"]) == (N_ROWS - 1, N_ROWS)
    check_search_index(store)


def test_an_import_that_is_under_way_is_not_tidied_away(store: Database) -> None:
    bring(store, lambda _: tidy(store), rows())
    assert seen(store)["questions"] == N_ROWS


def test_others_write_meanwhile_and_their_rows_are_there_at_once(store: Database) -> None:
    other = open_database(str(store.engine.url))
    made: list[int] = []

    def add(done: int) -> None:
        with other.write() as session:
            made.append(add_question(session, NewQuestion(text=f"How, {done}?"))[0])
        with other.read() as session:
            assert search_ids(session, "question", f"How, {done}") == made[-1:]
            assert made[-1] in question_ids(session, QuestionFilter())

    bring(store, add, rows())
    other.close()
    assert len(set(made)) == len(made) > 20
    assert seen(store)["questions"] == N_ROWS + len(made)
    check_search_index(store)


def test_a_question_that_comes_by_hand_meanwhile_is_refused_in_a_sentence(store: Database) -> None:
    def add(done: int) -> None:
        same = NewQuestion(text="Why is thing number 3 blue?")
        with pytest.raises(UsageError, match="part of an import that is under way"):  # noqa: SIM117
            with store.write() as session:
                add_question(session, same)

    bring(store, lambda done: add(done) if done == 40 else None, rows())


def test_a_question_that_somebody_was_quicker_with_ends_the_import(store: Database) -> None:
    def add(done: int) -> None:
        if done == 20:
            with store.write() as session:
                add_question(session, NewQuestion(text="Why is thing number 90 blue?"))

    with pytest.raises(UsageError, match="import the file again"):
        bring(store, add, rows())
    assert seen(store)["questions"] == 2
    assert bring(store, lambda _: None, rows()).added == N_ROWS - 2


def test_a_second_import_is_told_of_the_first(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.store.staging.WAIT_S", 0)
    with import_lock(store), pytest.raises(ImportRuns, match=r"Another import .* try again"):
        bring(store, lambda _: None, rows())


def test_what_is_published_is_completed_though_the_process_is_killed(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every known question gains a tag; only the first few come with the publication."""
    bring(store, lambda _: None, rows())
    with monkeypatch.context() as patch:
        patch.setattr("db.store.staging._CHUNK", 10)
        patch.setattr("serving.importers.writing.apply_pending", lambda _: None)
        done = bring(store, lambda _: None, rows(tags="later"))
    assert done.updated == N_ROWS
    assert seen(store)["facets"].tags["later"] == 10
    tidy(store)
    assert seen(store)["facets"].tags["later"] == N_ROWS


def test_a_detail_that_was_given_meanwhile_stays(store: Database) -> None:
    def give(done: int) -> None:
        with store.write() as session:
            session.get_one(Question, 1).category = "mine"

    bring(store, lambda done: give(done) if done == 40 else None, rows(category="theirs"))
    with store.read() as session:
        assert session.get_one(Question, 1).category == "mine"
        assert session.get_one(Question, 9).category == "theirs"


def test_a_row_that_is_not_there_yet_has_no_name(store: Database) -> None:
    def look(_: int) -> None:
        with store.read() as session:
            session.connection()
            for ref in ("q2", "v2", "a1"):
                with pytest.raises(UsageError, match="There is no"):
                    lineage(session, ref)

    bring(store, look, rows())
    with store.read() as session:
        assert lineage(session, "q2").ref.id == 2
        assert "assistant" in role_names(session)


def test_a_store_that_cannot_be_written_to_keeps_what_it_had(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up in mid-import, and stays full while that is taken back."""
    before = seen(store)
    with monkeypatch.context() as patch:

        def fill(done: int) -> None:
            if done > 100:
                patch.setattr(Database, "write", no_room)

        with pytest.raises(Q2QError, match="is full"):
            bring(store, fill, rows())
    assert seen(store) == before
    tidy(store)
    assert seen(store) == before
    assert bring(store, lambda _: None, rows()).added == N_ROWS - 1


def no_room(database: Database) -> Any:
    raise db.errors.StoreFull(database.label)
