"""Migrations make what the models say, keep every row, and change nothing when they fail."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, select, text

from db.database import Database, open_database
from db.dialogues import read_open_steps
from db.errors import Q2QError
from db.identity import short_hash
from db.search import search_ids
from db.settings import settings
from db.store import schema
from db.store.migrate import main, open_store, status, upgrade, upgrade_store, write_next_revision
from db.store.schema import VIEWS
from db.tables import Base

NOW = "2026-11-23 08:00:00.000000"
REVISIONS = [path.name[:4] for path in sorted((schema.MIGRATIONS / "versions").glob("0*.py"))]

ROWS: dict[str, dict[str, Any]] = {
    "theme": {"name": "water", "concept": "c", "goal": "g", "points_of_view": "[]"},
    "question": {"content_hash": "q", "text": "Why?", "context": "", "role": "assistant",
                 "source": "human"},
    "role": {"name": "assistant", "version": 1, "system": "s", "definition_hash": "h"},
    "prompt_format": {"name": "tagged", "version": 1, "definition": "{}", "definition_hash": "h"},
    "model_version": {"name": "m", "kind": "base", "digest": "sha256:1", "stop_token_ids": "[]",
                      "state": "ready"},
    "rater": {"name": "Aki", "kind": "person"},
    "tag": {"name": "physics"},
    "question_tag": {"question_id": 1, "tag_id": 1},
    "sampling": {"content_hash": "s", "parameters": "{}"},
    "prompt": {"content_hash": "p", "text": "Why?"},
    "sweep": {"name": "first", "purpose": "sweep", "spec": "{}", "spec_hash": "h", "plan": "{}",
              "state": "done", "n_reasoning_slots": 1, "n_answer_slots": 1, "active_s": 1.0},
    "generation": {"slot_key": "k", "attempt": 1, "kind": "reasoning", "ok": 1, "question_id": 1,
                   "mode": "reasoning", "prompt_format_id": 1, "role_id": 1, "model_version_id": 1,
                   "sampling_id": 1, "prompt_id": 1, "replicate": 0, "text": "You should ask."},
    "sweep_generation": {"sweep_id": 1, "generation_id": 1, "made_here": 1},
    "reasoning_variant": {"question_id": 1, "text": "You should ask.", "source": "model",
                          "generation_id": 1, "content_hash": "v"},
    "answer": {"question_id": 1, "variant_id": 1, "text": "So.", "source": "human",
               "content_hash": "a"},
    "check_flag": {"variant_id": 1, "name": "form"},
    "rating": {"rater_id": 1, "scope": "reasoning", "question_id": 1, "variant_id": 1,
               "axis": "ok", "value": 1.0, "blind": 1, "answer_seen": 0, "card_id": "c"},
    "job": {"kind": "sweep", "lane": "server", "priority": 0, "payload": "{}", "sweep_id": 1,
            "state": "done", "done": 1, "starts": 1},
    "dataset": {"name": "pairs", "kind": "dpo", "rules": "{}", "counts": "{}"},
    "training_run": {"dataset_id": 1, "base_model_version_id": 1, "method": "dpo", "config": "{}",
                     "state": "done", "versions": "{}", "summary": "{}"},
    "training_metric": {"run_id": 1, "name": "loss", "step": 1, "value": 0.5},
    "search_text": {"kind": "variant", "text_id": 1, "terms": "you should ask"},
}  # fmt: skip
"""One row of each table that others hang on, in an order that references allow."""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'new.sqlite'}")
    yield database
    database.close()


def fill(connection: Connection) -> None:
    """Write a row into each table of ``ROWS`` that this revision has, with the columns it has."""
    tables = set(inspect(connection).get_table_names())
    for table, values in ROWS.items():
        if table not in tables:
            continue
        columns = {column["name"] for column in inspect(connection).get_columns(table)}
        row = {name: value for name, value in values.items() if name in columns}
        row |= {"created_at": NOW} if "created_at" in columns else {}
        row |= {"id": 1} if "id" in columns else {}
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), row)


def contents(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables, search index apart."""
    metadata = MetaData()
    names = [name for name in inspect(connection).get_table_names() if "search_index" not in name]
    metadata.reflect(connection, only=names)
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for table in metadata.tables.values()
        if table.name != "alembic_version"
    }


def differences(database: Database) -> list[Any]:
    """Return what autogenerate would write; the rules of ``env.py`` are those used here."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_object": lambda item, name, kind, reflected, other: (
                    not (reflected and other is None and "search_" in str(name))
                )
            },
        )
        return list(compare_metadata(context, Base.metadata))


def test_a_migrated_store_is_what_the_models_say(database: Database) -> None:
    assert differences(database) == []


def test_there_is_one_head_and_files_are_named_by_their_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    order = [script.revision for script in scripts.walk_revisions()]
    assert scripts.get_heads() == [REVISIONS[-1]]
    assert order[::-1] == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_store_of_every_revision_upgrades_and_keeps_its_rows(
    empty: Database, revision: str
) -> None:
    upgrade(empty, revision)
    with empty.engine.begin() as connection:
        fill(connection)
        before = contents(connection)
    upgrade(empty)
    with empty.read() as session:
        after = contents(session.connection())
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
    assert any(before.values())
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]] if rows else []
        assert kept == rows, table
    assert status(empty).is_current
    assert differences(empty) == []


@pytest.fixture
def next_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of one more migration, beside copies of the real ones."""
    folder = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    return folder / "versions" / "0900_next.py"


def write_migration(path: Path, body: str) -> None:
    path.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '0900'\ndown_revision = '{REVISIONS[-1]}'\n"
        f"def upgrade():\n    {body}\n"
    )


def test_a_migration_that_fails_changes_nothing(database: Database, next_migration: Path) -> None:
    with database.engine.begin() as connection:
        fill(connection)
        before = contents(connection)
    write_migration(
        next_migration,
        "op.execute('DROP TABLE rating'); op.execute('CREATE TABLE x (id INTEGER)');"
        " op.execute('SELECT * FROM nowhere')",
    )
    with pytest.raises(Exception, match="nowhere"):
        upgrade(database)
    with database.read() as session:
        assert contents(session.connection()) == before
        assert inspect(session.connection()).get_view_names() == sorted(VIEWS)
    assert status(database).current == REVISIONS[-1]


def test_a_rebuilt_table_keeps_the_children_that_would_go_with_it(
    database: Database, next_migration: Path
) -> None:
    with database.engine.begin() as connection:
        fill(connection)
    write_migration(
        next_migration,
        "with op.batch_alter_table('reasoning_variant', recreate='always') as batch:"
        " batch.add_column(sa.Column('stars', sa.Integer()))",
    )
    upgrade(database)
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM check_flag")) == 1
        assert session.scalar(text("SELECT n_ratings FROM v_variant")) == 1
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_migration_that_leaves_broken_references_is_refused(
    database: Database, next_migration: Path
) -> None:
    with database.engine.begin() as connection:
        fill(connection)
    write_migration(next_migration, "op.execute('DELETE FROM question')")
    with pytest.raises(Q2QError, match="rows would point at nothing"):
        upgrade(database)
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM question")) == 1


def test_an_upgrade_of_a_used_store_makes_a_backup_first(
    database: Database, next_migration: Path
) -> None:
    with database.engine.begin() as connection:
        fill(connection)
    write_migration(next_migration, "op.execute('DELETE FROM check_flag')")
    copy = upgrade_store(settings())
    assert copy is not None
    kept = open_database(f"sqlite:///{copy}")
    assert status(kept).current == REVISIONS[-1]
    with kept.read() as session:
        assert session.scalar(text("SELECT count(*) FROM check_flag")) == 1
    kept.close()


def test_a_failed_upgrade_is_one_sentence(
    database: Database, next_migration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_migration(next_migration, "op.execute('SELECT * FROM nowhere')")
    assert main([]) == 1
    message = capsys.readouterr().err
    assert "failed and changed nothing (no such table: nowhere)" in message
    assert message.count("\n") == 1


def test_a_new_revision_is_written_from_what_the_models_have(
    next_migration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.tables.values():
        table.to_metadata(columns)
    from sqlalchemy import Column, Integer

    columns.tables["tag"].append_column(Column("stars", Integer, nullable=True))
    monkeypatch.setattr(Base, "metadata", columns)
    written = write_next_revision("count stars")
    number = f"{int(REVISIONS[-1]) + 1:04d}"
    assert written.name == f"{number}_count_stars.py"
    assert f'down_revision = "{REVISIONS[-1]}"' in written.read_text().replace("'", '"')
    assert "stars" in written.read_text()
    assert "search_index" not in written.read_text()


def test_a_revision_without_a_subject_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["revision"]) == 2
    assert "make migration" in capsys.readouterr().err


VIEWS_OF_HEAD = ("0025", "176d0d83564dea61f94c0adb8a11af65")
"""The head revision and a hash of the views; change both together (an empty migration will do)."""


def test_views_change_only_with_a_new_revision(database: Database) -> None:
    with database.read() as session:
        definitions = session.scalars(
            text("SELECT sql FROM sqlite_master WHERE type = 'view' ORDER BY name")
        ).all()
    assert (REVISIONS[-1], short_hash(*definitions)) == VIEWS_OF_HEAD


def test_words_that_unseen_signs_parted_are_found_after_the_upgrade(empty: Database) -> None:
    upgrade(empty, "0006")
    with empty.engine.begin() as connection:
        fill(connection)
        connection.execute(
            text("UPDATE question SET text = :text"), {"text": "The well\u00adknown 葛\U000e0100城"}
        )
        connection.execute(
            text(
                "INSERT INTO search_text (kind, text_id, terms)"
                " VALUES ('question', 1, 'the well known 葛 城')"
            )
        )
    upgrade(empty)
    with empty.read() as session:
        assert search_ids(session, "question", "wellknown") == [1]
        assert search_ids(session, "question", "葛城") == [1]
        assert search_ids(session, "question", "known") == []
        assert search_ids(session, "variant", "ask") == [1]


def test_ended_steps_of_dialogues_are_known_after_the_upgrade(empty: Database) -> None:
    upgrade(empty, "0009")
    events: list[tuple[str, dict[str, int]]] = [
        ("answer", {"sweep_id": 1, "job_id": 1}),
        ("answers_shown", {"step": 1}),
        ("answers_shown", {"step": 1}),  # by a second page, before the worker did it
        ("ask", {"sweep_id": 1, "job_id": 1}),
        ("turns", {"auto_job_id": 1}),
        ("checkpoint", {"turns": 1}),  # as a worker stopped
        ("checkpoint", {"turns": 2}),
        ("questions_shown", {"step": 99}),
    ]
    with empty.engine.begin() as connection:
        fill(connection)
        connection.execute(
            text(
                "INSERT INTO dialogue_session (id, theme_id, name, state, settings, created_at)"
                f" VALUES (1, 1, 'd', 'open', '{{}}', '{NOW}')"
            )
        )
        for number, (kind, payload) in enumerate(events, start=1):
            connection.execute(
                text(
                    "INSERT INTO dialogue_event (id, session_id, kind, payload, automatic,"
                    " created_at) VALUES (:id, 1, :kind, :payload, 0, :now)"
                ),
                {"id": number, "kind": kind, "payload": json.dumps(payload), "now": NOW},
            )
    upgrade(empty)
    with empty.read() as session:
        found = session.execute(text("SELECT id, step_id FROM dialogue_event ORDER BY id"))
        assert [row[1] for row in found] == [None, 1, None, None, None, None, 5, None]
        assert [one.id for one in read_open_steps(session, ("answer", "ask", "turns"))] == [4]


def test_an_empty_home_is_completed_by_whatever_opens_it() -> None:
    database = open_store(settings())
    assert status(database).is_current
    database.close()


def test_an_older_store_is_not_opened_but_the_way_out_is_named(
    database: Database, next_migration: Path
) -> None:
    write_migration(next_migration, "pass")
    with pytest.raises(Q2QError, match="run `q2q up` or `make setup`"):
        open_store(settings())


def test_a_newer_store_is_not_opened(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    for act in (open_store, upgrade_store):
        with pytest.raises(Q2QError, match="made by a newer version"):
            act(settings())


def test_a_database_of_another_program_is_left_alone(home: Path) -> None:
    other = open_database(settings().database)
    with other.engine.begin() as connection:
        connection.execute(text("CREATE TABLE invoices (id INTEGER)"))
    other.close()
    with pytest.raises(Q2QError, match="tables of another program"):
        open_store(settings())


def test_a_file_that_is_no_database_gives_one_sentence(home: Path) -> None:
    home.mkdir()
    (home / "q2q.sqlite").write_text("not a database, whatever its name says" * 100)
    with pytest.raises(Q2QError, match=r"file is not a database.*q2q restore"):
        open_store(settings())
