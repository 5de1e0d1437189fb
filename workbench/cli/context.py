"""What every command starts from: the settings and the open store."""

from collections.abc import Iterator
from contextlib import contextmanager

from db.database import Database
from db.settings import Settings, load_settings
from db.store.migrate import open_store


@contextmanager
def open_home() -> Iterator[tuple[Settings, Database]]:
    """Yield the settings and the store; an empty home is completed first."""
    settings = load_settings()
    database = open_store(settings)
    try:
        yield settings, database
    finally:
        database.close()
