"""The store of this process, opened once; pages take short sessions from it."""

import contextlib

import streamlit as st

from db.database import Database
from db.errors import Q2QError
from db.identity import short_hash
from db.settings import settings
from db.store.mark import store_mark
from db.store.migrate import open_store
from serving.formats.library import Registry, load_definitions, sync_definitions


@st.cache_resource(show_spinner=False)
def database() -> Database:
    """Return the store of the settings. Visits share it; it holds no rows.

    Raises:
        Q2QError: It cannot be opened, or is of another version; the sentence says what to do.
    """
    return open_store(settings())


@st.cache_resource(show_spinner=False, ttl=60)
def registry() -> Registry:
    """Return the prompt formats and roles; a changed file of them counts within a minute.

    Raises:
        UsageError: The user's file of them is wrong; the sentence names the place.
    """
    in_home = settings().home_dir / "formats.yaml"
    user_file = settings().formats_file or (in_home if in_home.exists() else None)
    definitions = load_definitions(user_file)
    with database().write() as session:
        return sync_definitions(session, definitions)


@st.cache_resource(show_spinner=False)
def mark() -> str:
    """Return what tells this store apart: a browser keeps texts for all that one address showed."""
    with contextlib.suppress(Q2QError):
        registry()  # a new store is marked by what it is given first
    with database().read() as session:
        return store_mark(session) or short_hash(database().label)
