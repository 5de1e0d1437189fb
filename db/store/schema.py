"""The schema of one store: its revisions, and views for people who read it with pandas or SQL.

Every upgrade makes the views anew. A change of one therefore needs a migration; an empty one will
do. They are documented in ``docs/store.md``. Which store, and when, is decided elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from db.database import Database
from db.errors import Q2QError

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parents[1] / "migrations"
# Any fixed number: two upgrades of one PostgreSQL store wait for each other on it.
ADVISORY_LOCK = 7_102_771


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """Where a store stands among the revisions that this program knows."""

    current: str | None
    """Its revision; None for a store without tables."""
    head: str
    """The newest revision."""
    is_known: bool
    """False where a newer program made the store, or where it is no store of ours."""

    @property
    def is_empty(self) -> bool:
        """True where nothing has been made yet."""
        return self.current is None and self.is_known

    @property
    def is_current(self) -> bool:
        """True where nothing is left to upgrade."""
        return self.current == self.head


def status(database: Database) -> MigrationStatus:
    """Return where ``database`` stands; reads only, and loads no migration."""
    with database.engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        current: str | None = None
        if "alembic_version" in tables:
            current = connection.scalar(text("SELECT version_num FROM alembic_version"))
    known = _revisions()
    is_known = current in known if current is not None else not tables - {"alembic_version"}
    return MigrationStatus(current=current, head=known[-1], is_known=is_known)


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring ``database`` to ``revision``: all of it, or none where a step fails.

    Other processes may read meanwhile; two upgrades at once wait for each other.

    Raises:
        Q2QError: The result would hold broken references.
    """
    from alembic import command  # takes a while to load, and most commands need no upgrade

    with _schema_change(database) as connection:
        drop_views(connection)
        command.upgrade(_config(connection), revision)
        if revision in {"head", _revisions()[-1]}:
            create_views(connection)
        _check_references(connection)


def write_revision(database: Database, message: str) -> Path:
    """Write the next migration: what the models have and ``database``, at head, has not.

    Returns:
        The new file, to be read and completed by hand.
    """
    from alembic import command

    number = f"{int(_revisions()[-1]) + 1:04d}"
    with database.engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True, rev_id=number)
    return next((MIGRATIONS / "versions").glob(f"{number}_*.py"))


def _revisions() -> list[str]:
    """Return all revisions, oldest first: a file is named by its revision and its subject."""
    return sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _schema_change(database: Database) -> Iterator[Connection]:
    """Yield a connection in one transaction that no second upgrade can enter.

    Tables are rebuilt on SQLite; with foreign keys on, dropping the old one would delete its
    children. The switch does nothing inside a transaction, hence it is thrown outside.
    """
    with database.engine.connect().execution_options(q2q_write=True) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if database.is_sqlite:
            driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                if not database.is_sqlite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
                yield connection
        finally:
            if database.is_sqlite:
                driver.execute("PRAGMA foreign_keys=ON")


def _check_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        table, _, target, _ = broken[0]
        raise Q2QError(
            "{n_broken} rows would point at nothing (the first: {table} to {target}),"
            " so nothing was changed; please report this with the program's version.",
            n_broken=len(broken),
            table=table,
            target=target,
        )


SAMPLING_REAL = (
    "temperature",
    "top_p",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
SAMPLING_INTEGER = ("top_k", "max_tokens")


def _there(table: str, alias: str) -> str:
    """Condition that a row belongs to no import that is still under way."""
    return f"""NOT EXISTS (SELECT 1 FROM staged_range z
        WHERE z.table_name = '{table}' AND {alias}.id BETWEEN z.first_id AND z.last_id)"""


class _Dialect:
    """The few words that differ between SQLite and PostgreSQL."""

    def __init__(self, name: str) -> None:
        self.is_sqlite = name == "sqlite"

    def joined(self, value: str, source: str, order: str) -> str:
        """SQL of a comma list of the texts ``value`` of ``source``, in their order."""
        joined = "group_concat" if self.is_sqlite else "string_agg"
        ordered = f"SELECT {value} AS value FROM {source} ORDER BY {order}"
        return f"(SELECT {joined}(value, ', ') FROM ({ordered}) AS ordered)"

    def json(self, column: str, key: str, kind: str) -> str:
        """SQL of one number out of a JSON object."""
        if self.is_sqlite:
            return f"CAST(json_extract({column}, '$.{key}') AS {kind})"
        return f"CAST({column} ->> '{key}' AS {kind})"

    def message(self, column: str) -> str:
        """SQL of a message's text without what it is made of (``db.messages``)."""
        if self.is_sqlite:
            return f"substr({column}, 1, instr({column} || char(31), char(31)) - 1)"
        return f"split_part({column}, chr(31), 1)"

    def sampling(self) -> str:
        """SQL of all sampling parameters, a column each."""
        real = [(key, "double precision") for key in SAMPLING_REAL]
        integer = [(key, "integer") for key in SAMPLING_INTEGER]
        return ",\n    ".join(
            f"{self.json('s.parameters', key, kind)} AS {key}" for key, kind in real + integer
        )


def _question(sql: _Dialect) -> str:
    source = "question_tag qt JOIN tag t ON t.id = qt.tag_id WHERE qt.question_id = q.id"
    tags = sql.joined("t.name", source, "t.name")
    return f"""
SELECT q.id AS question_id, q.text, q.context, q.reference_answer, q.role, q.category, q.language,
    {tags} AS tags,
    q.source, q.external_id, q.parent_id, q.root_id, q.move, q.held_out,
    (SELECT count(*) FROM reasoning_variant v WHERE v.question_id = q.id
        AND {_there("reasoning_variant", "v")}) AS n_variants,
    (SELECT count(*) FROM answer a WHERE a.question_id = q.id
        AND {_there("answer", "a")}) AS n_answers,
    q.created_at, q.in_pool, q.archived_at
FROM question q
WHERE {_there("question", "q")}
"""


def _origin(sql: _Dialect) -> str:
    """Columns that a text takes from its generation; NULL where no engine wrote it."""
    return f"""g.mode, f.name || '@' || f.version AS prompt_format,
    m.name AS model, m.digest AS model_digest,
    m.precision, g.replicate, g.seed,
    {sql.sampling()},
    g.finish_reason, g.prompt_tokens, g.completion_tokens, g.latency_ms, g.engine_version"""


_ORIGIN_TABLES = """
LEFT JOIN prompt_format f ON f.id = g.prompt_format_id
LEFT JOIN role r ON r.id = g.role_id
LEFT JOIN model_version m ON m.id = g.model_version_id
LEFT JOIN sampling s ON s.id = g.sampling_id
"""


def _judged(sql: _Dialect, kind: str) -> str:
    """Columns that tell what checks and raters found on a text of ``kind``.

    The plus keeps SQLite from reading all ratings by the index of ``undoes_id``, mostly NULL.
    """
    valid = f"""+x.undoes_id IS NULL
        AND NOT EXISTS (SELECT 1 FROM rating u WHERE u.undoes_id = x.id)
        AND {_there("rating", "x")}"""
    if kind == "variant":
        valid += " AND x.answer_id IS NULL"

    def count(target: str, outcome: str) -> str:
        return f"""(SELECT count(*) FROM rating x WHERE x.{target}_id = t.id
        AND x.outcome IS {outcome} AND {valid})"""

    flags = sql.joined("c.name", f"check_flag c WHERE c.{kind}_id = t.id", "c.name")
    return f"""{flags} AS flags,
    {count(kind, "NULL")} AS n_ratings,
    {count(kind, "NOT NULL")} + {count(f"other_{kind}", "NOT NULL")} AS n_comparisons"""


def _variant(sql: _Dialect) -> str:
    source = "variant_parent x WHERE x.variant_id = t.id"
    parents = sql.joined("CAST(x.parent_id AS text)", source, "x.position")
    return f"""
SELECT t.id AS variant_id, t.question_id, q.text AS question, q.context, q.language, q.category,
    coalesce(r.name, q.role) AS role, t.text, t.source, p.name AS author,
    {parents} AS parent_ids,
    t.generation_id, {_origin(sql)},
    {_judged(sql, "variant")},
    (SELECT count(*) FROM answer a WHERE a.variant_id = t.id
        AND {_there("answer", "a")}) AS n_answers,
    t.created_at
FROM reasoning_variant t
JOIN question q ON q.id = t.question_id
LEFT JOIN rater p ON p.id = t.author_id
LEFT JOIN generation g ON g.id = t.generation_id
{_ORIGIN_TABLES}WHERE {_there("reasoning_variant", "t")}
"""


def _answer(sql: _Dialect) -> str:
    return f"""
SELECT t.id AS answer_id, t.variant_id, t.question_id, q.text AS question, q.context,
    q.reference_answer, q.language, q.category, coalesce(r.name, q.role) AS role,
    w.answer_check, w.correct, v.text AS reasoning, t.text, t.source, p.name AS author, t.parent_id,
    t.generation_id, {_origin(sql)},
    {_judged(sql, "answer")},
    t.created_at
FROM answer t
JOIN question q ON q.id = t.question_id
LEFT JOIN reasoning_variant v ON v.id = t.variant_id
LEFT JOIN answer_grade w ON w.answer_id = t.id AND w.is_current
LEFT JOIN rater p ON p.id = t.author_id
LEFT JOIN generation g ON g.id = t.generation_id
{_ORIGIN_TABLES}WHERE {_there("answer", "t")}
"""


def _generation(sql: _Dialect) -> str:
    return f"""
SELECT g.id AS generation_id, g.slot_key, g.attempt, g.kind, g.ok,
    {sql.message("g.error")} AS error, g.question_id, g.variant_id AS given_variant_id,
    r.name AS role, g.text AS completion, {_origin(sql)},
    g.stop_reason, e.name AS engine, g.request_id, g.choice_index, g.prompt_id, g.created_at
FROM generation g
LEFT JOIN engine e ON e.id = g.engine_id
{_ORIGIN_TABLES}"""


def _rating(sql: _Dialect) -> str:
    return f"""
SELECT x.id AS rating_id, p.name AS rater, p.kind AS rater_kind, x.scope, x.axis, x.value,
    x.outcome, x.label, x.question_id, x.variant_id, x.answer_id, x.other_question_id,
    x.other_variant_id, x.other_answer_id, x.blind, x.swapped, x.answer_seen, x.sampler, x.seconds,
    x.note, EXISTS (SELECT 1 FROM rating u WHERE u.undoes_id = x.id) AS is_undone, x.created_at
FROM rating x
JOIN rater p ON p.id = x.rater_id
WHERE x.undoes_id IS NULL AND {_there("rating", "x")}
"""


def _sweep(sql: _Dialect) -> str:
    return """
SELECT w.id AS sweep_id, w.name, w.purpose, w.state, w.n_reasoning_slots, w.n_answer_slots,
    w.n_reasoning_slots + w.n_answer_slots AS cells,
    count(CASE WHEN g.ok THEN 1 END) AS n_done,
    count(CASE WHEN NOT g.ok THEN 1 END) AS n_failed_attempts,
    count(CASE WHEN g.ok AND l.made_here THEN 1 END) AS n_made_here,
    sum(CASE WHEN l.made_here THEN g.completion_tokens END) AS completion_tokens,
    w.active_s, w.created_at, w.started_at, w.finished_at, w.archived_at
FROM sweep w
LEFT JOIN sweep_generation l ON l.sweep_id = w.id
LEFT JOIN generation g ON g.id = l.generation_id
GROUP BY w.id
"""


def _sweep_text(sql: _Dialect) -> str:
    return """
SELECT l.sweep_id, w.name AS sweep, l.generation_id, l.made_here, g.kind, g.ok, g.question_id,
    coalesce(v.id, g.variant_id) AS variant_id, a.id AS answer_id
FROM sweep_generation l
JOIN sweep w ON w.id = l.sweep_id
JOIN generation g ON g.id = l.generation_id
LEFT JOIN reasoning_variant v ON v.generation_id = g.id
LEFT JOIN answer a ON a.generation_id = g.id
"""


VIEWS: dict[str, Callable[[_Dialect], str]] = {
    "v_question": _question,
    "v_variant": _variant,
    "v_answer": _answer,
    "v_generation": _generation,
    "v_rating": _rating,
    "v_sweep": _sweep,
    "v_sweep_text": _sweep_text,
}


def create_views(connection: Connection) -> None:
    """Make all views; those of an earlier revision must be gone."""
    sql = _Dialect(connection.dialect.name)
    for name, select in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {select(sql)}"))


def drop_views(connection: Connection) -> None:
    """Remove all views, so that the tables under them may change."""
    for name in inspect(connection).get_view_names():
        if name.startswith("v_"):
            connection.execute(text(f"DROP VIEW {name}"))
