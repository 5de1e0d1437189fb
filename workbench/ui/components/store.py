"""The store of this process, opened once; pages take short sessions from it."""

import contextlib

import streamlit as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import Q2QError
from db.identity import short_hash
from db.settings import settings
from db.store.migrate import open_store, store_mark
from db.tables import Question
from serving.formats.library import Registry, load_registry


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
    with database().write() as session:
        return load_registry(settings(), session)


@st.cache_resource(show_spinner=False)
def mark() -> str:
    """Return what tells this store apart: a browser keeps texts for all that one address showed."""
    with contextlib.suppress(Q2QError):
        registry()  # a new store is marked by what it is given first
    with database().read() as session:
        return store_mark(session) or short_hash(database().label)


def child_ids(session: Session, question_id: int) -> list[int]:
    """Return the questions that were made from this one by an edit or a dialogue."""
    query = select(Question.id).where(Question.parent_id == question_id).order_by(Question.id)
    return list(session.scalars(query))
