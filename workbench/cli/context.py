"""What every command starts from: the settings and the open store."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from pydantic_settings import SettingsError

from db.database import Database
from db.errors import UsageError
from db.settings import Settings, settings
from db.store.migrate import open_store


def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        UsageError: A value is wrong; the sentence names all that are.
    """
    try:
        return settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise UsageError(
            f"The settings are wrong: {problems}. Correct the variable Q2Q_… or q2q.toml."
        ) from None
    except SettingsError as error:
        raise UsageError(
            f"The settings are wrong: {error} (lists are written as JSON, such as '[\"--flag\"]')."
            " Correct the variable Q2Q_… or q2q.toml."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"q2q.toml in Q2Q_HOME is no TOML: {error}.") from None
    except UnicodeDecodeError:
        raise UsageError(
            "q2q.toml in Q2Q_HOME is not in UTF-8; save it in that encoding."
        ) from None
    except OSError as error:
        raise UsageError(f"q2q.toml in Q2Q_HOME cannot be read ({error.strerror}).") from None


@contextmanager
def open_home() -> Iterator[tuple[Settings, Database]]:
    """Yield the settings and the store; an empty home is completed first."""
    settings = load_settings()
    database = open_store(settings)
    try:
        yield settings, database
    finally:
        database.close()
