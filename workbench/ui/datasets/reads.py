"""What the pages of datasets read: a preview that is computed once for each state of the store."""

from dataclasses import dataclass
from typing import Any

import streamlit as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.rating.columns import high_water
from db.tables import Answer, Dataset, Question, ReasoningVariant
from training.datasets.balance import Caution, balance_of, cautions
from training.datasets.build import build
from training.datasets.freeze import freeze
from training.datasets.rules import Rules
from training.datasets.spec import parse_yaml
from workbench.ui.components.store import database, registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What rules would come to."""

    counts: dict[str, Any]
    cautions: tuple[Caution, ...]


def store_mark(session: Session) -> str:
    """Return a mark that changes whenever a preview might."""
    tables = (Question, ReasoningVariant, Answer, Dataset)
    newest = [session.scalar(select(func.max(table.id))) or 0 for table in tables]
    return "/".join(map(str, (high_water(session), *newest)))


def preview(rules_text: str) -> Preview:
    """Return what each rule takes and drops; the same text on the same store is computed once.

    Raises:
        UsageError: The rules are wrong, or name something that is not in the store.
    """
    store = database()
    with store.read() as session:
        mark = store_mark(session)
    return _preview(store.label, mark, rules_text)


@st.cache_data(show_spinner=False, max_entries=32)
def _preview(label: str, mark: str, rules_text: str) -> Preview:
    with database().read() as session:
        built = build(session, parse_yaml(rules_text), registry())
        found = cautions(balance_of(session, built))
        return Preview(counts=built.counts.as_json(), cautions=tuple(found))


def freeze_rules(rules: Rules) -> int:
    """Build the dataset as the store is now, freeze it and return its id.

    Raises:
        UsageError: Nothing to train on, or the name is taken.
    """
    with database().write() as session:
        return freeze(session, build(session, rules, registry()))
