"""What the workbench works on: the model to serve and the store."""

import sqlite3
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from db.database import Database, open_database, read_only_uri
from db.errors import Q2QError, StoreDamaged, StoreFault
from db.models import list_models
from db.rating.ratings import count_off_scale
from db.settings import Settings
from db.store.schema import status
from serving.device import Device
from serving.models.embedded import embedded_model_folder, is_made
from serving.models.planned import plan_for
from workbench.doctor.check import Check, fail, ok, warn

_BACKUP = "Bring a backup back with `q2q restore FILE`; they are in Q2Q_HOME/backups."
READ_S = 1.0
"""How long the store's file is read in search of damage."""


def check_model(settings: Settings, device: Device) -> Check:
    """Look for the weights of the model that is to be served."""
    wanted = settings.model
    if wanted is None and device == "cpu":
        folder = embedded_model_folder(settings.cache_dir)
        if is_made(folder):
            return ok("Model", f"The embedded model is in {folder}")
        return fail("Model", f"The embedded model is not in {folder}.", "Run `make setup`.")
    if wanted is None:
        return ok("Model", "The default for a GPU; it is fetched from the hub where it is missing")
    folder = Path(wanted).expanduser()
    if (folder / "config.json").is_file():
        return ok("Model", f"{folder}")
    if folder.is_dir() or folder.is_absolute():
        return fail(
            "Model",
            f"{folder} is no model folder: it has no config.json.",
            "Set Q2Q_MODEL (or `model` in q2q.toml) to a folder with weights, a hub id or a name "
            "from `q2q model list`.",
        )
    if wanted in _model_names(settings):
        return ok("Model", f"{wanted}, from `q2q model list`")
    return warn(
        "Model",
        f"{wanted} is no folder and no name in the store, so it is taken for a hub id.",
        f"Fetch and register it once: `q2q model add {wanted}`.",
    )


def check_plan(settings: Settings) -> Check:
    """Say how the model is served on this machine, and why so."""
    try:
        with ExitStack() as stack:
            session = None
            if _is_made(settings):
                database = stack.enter_context(closing(open_database(settings.database)))
                if status(database).is_current:
                    session = stack.enter_context(database.read())
            return ok("Plan", plan_for(session, settings).why)
    except (Q2QError, SQLAlchemyError) as error:
        return warn(
            "Plan",
            str(error) if isinstance(error, Q2QError) else "The store cannot be read.",
            "See what fits: `q2q serve plan MODEL`.",
        )


def _model_names(settings: Settings) -> set[str]:
    if not _is_made(settings):
        return set()
    try:
        with closing(open_database(settings.database)) as database, database.read() as session:
            return {model.name for model in list_models(session)}
    except (Q2QError, SQLAlchemyError):
        return set()  # check_database says what is wrong with the store


def check_database(settings: Settings) -> Check:
    """Open the store, compare its version with the program's and read it in search of damage."""
    if not _is_made(settings):
        return _check_home(settings.home_dir) or ok(
            "Database", f"None yet; the next command makes {_file(settings)}"
        )
    try:
        with closing(open_database(settings.database)) as database:
            return (
                _check_version(database)
                or _check_pages(database)
                or _check_ratings(database)
                or ok("Database", _sound(database))
            )
    except StoreFault as error:
        if not isinstance(error, StoreDamaged):
            return fail("Database", "The store cannot be used now.", str(error))
        return fail("Database", str(error), _BACKUP)
    except (Q2QError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return fail(
            "Database",
            f"The store cannot be opened: {reason}.",
            "Start its server or correct Q2Q_DATABASE_URL." if settings.database_url else _BACKUP,
        )


def _check_home(home: Path) -> Check | None:
    """Find out whether the home that is not there yet can be made, by trying beside it."""
    parent = next(one for one in (home, *home.parents) if one.exists())
    try:
        with tempfile.TemporaryDirectory(dir=parent):
            return None
    except OSError as error:
        return fail(
            "Database",
            f"{home} cannot be made: {parent} takes no new folder ({error.strerror}).",
            "Set Q2Q_HOME to a folder that you may write to.",
        )


def _is_made(settings: Settings) -> bool:
    """Tell whether there is something to open; opening would make an SQLite file."""
    return settings.database_url is not None or _file(settings).exists()


def _file(settings: Settings) -> Path:
    return settings.home_dir / "q2q.sqlite"


def _check_version(database: Database) -> Check | None:
    state = status(database)
    if not state.is_known:
        return fail(
            "Database",
            f"{database.label} was made by a newer version or another program.",
            "Update the workbench, or choose another Q2Q_HOME or Q2Q_DATABASE_URL.",
        )
    if not state.is_current and not state.is_empty:
        return fail(
            "Database",
            f"{database.label} has schema {state.current}; this program needs {state.head}.",
            "Run `q2q up`, which backs it up and upgrades it.",
        )
    return None


def _check_ratings(database: Database) -> Check | None:
    if status(database).is_empty:
        return None
    with database.read() as session:
        n_off_scale = count_off_scale(session)
    if not n_off_scale:
        return None
    return warn(
        "Database",
        f"{n_off_scale} ratings in {database.label} have values off their scale, such as 99 where"
        " 5 is the highest; no rule and no figure counts them.",
        "Find them with `q2q rate export`, and import them with the right values and without"
        " card_id.",
    )


def _check_pages(database: Database) -> Check | None:
    damage = find_damage(database.path) if database.path is not None else None
    if damage:
        return fail(
            "Database",
            f"{database.path} is damaged: {damage}.",
            _BACKUP,
        )
    if database.unwritable is not None:
        return warn(
            "Database", "The store can be listed and exported only.", str(database.unwritable)
        )
    return None


def _sound(database: Database) -> str:
    if database.path is None:
        return f"{database.label} is up to date"
    size_mb = database.path.stat().st_size / 1e6
    return f"{database.path} ({size_mb:.1f} MB) is up to date and sound"


def find_damage(path: Path, read_s: float = READ_S) -> str | None:
    """Return the first damage found in an SQLite file within ``read_s`` seconds, if any."""
    deadline = time.monotonic() + read_s
    with closing(sqlite3.connect(read_only_uri(path), uri=True)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                return None
            return str(error)
        except sqlite3.DatabaseError as error:
            return str(error)
    return None if found == "ok" else str(found)
