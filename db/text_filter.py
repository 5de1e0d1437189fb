"""Which reasonings and answers: the filter of every list of texts, and its conditions in SQL."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db.rating_scores import Liking, liked_as
from db.tables import CheckFlag, Generation, PromptFormat, Question, Role
from db.text_rows import TABLES, ListedKind, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFilter:
    """Which texts; an empty field asks for nothing, the values of one are alternatives."""

    kind: ListedKind | None = None
    sweep_id: int | None = None
    """Those that the sweep wrote or found written."""
    question_ids: tuple[int, ...] | None = None
    model_version_ids: tuple[int, ...] = ()
    formats: tuple[str, ...] = ()
    """Names with version, e.g. ``tagged@1``."""
    roles: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    finish_reasons: tuple[str, ...] = ()
    with_flags: tuple[str, ...] = ()
    """Texts on which one of these checks found something."""
    without_flags: tuple[str, ...] = ()
    """Texts on which none of these checks found anything."""
    has_flags: bool | None = None
    liking: Liking | None = None
    """What people's ratings say of them on the whole."""
    search: str = ""


def scanned(column: InstrumentedAttribute[Any] | ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a number's ``column`` such that no index of its own is used.

    Without statistics SQLite would read and sort all rows that fit, instead of reading the newest
    rows in order until there are enough.
    """
    return column + 0


def generation_conditions(filter: TextFilter, table: Text) -> list[ColumnElement[bool]]:
    """Return what only the generation of a text can tell; texts of people have a role alone.

    The statement must join ``Generation`` to the text, as an outer join.
    """
    wanted: list[ColumnElement[bool]] = []
    if filter.model_version_ids:
        wanted.append(scanned(Generation.model_version_id).in_(filter.model_version_ids))
    if filter.modes:
        wanted.append(Generation.mode.in_(filter.modes))
    if filter.finish_reasons:
        wanted.append(Generation.finish_reason.in_(filter.finish_reasons))
    if filter.formats:
        pairs = [name.partition("@") for name in filter.formats]
        formats = select(PromptFormat.id).where(
            or_(
                *(
                    and_(PromptFormat.name == name, PromptFormat.version == int(version))
                    for name, _, version in pairs
                    if version.isdigit()
                ),
                false(),
            )
        )
        wanted.append(Generation.prompt_format_id.in_(formats))
    if filter.roles:
        # A name of its own: the statement around it may read questions too.
        question = aliased(Question)
        sent = select(Role.id).where(Role.name.in_(filter.roles))
        asked = select(question.id).where(question.role.in_(filter.roles))
        by_a_person = table.generation_id.is_(None) & scanned(table.question_id).in_(asked)
        wanted.append(or_(Generation.role_id.in_(sent), by_a_person))
    return wanted


def own_conditions(
    session: Session, filter: TextFilter, kind: ListedKind
) -> list[ColumnElement[bool]]:
    """Return what a text tells by itself: its source, its findings, its ratings."""
    table = TABLES[kind]
    target = CheckFlag.variant_id if kind == "variant" else CheckFlag.answer_id
    names = select(target).where(target.is_not(None))
    wanted: list[ColumnElement[bool]] = []
    if filter.sources:
        wanted.append(table.source.in_(filter.sources))
    elif kind == "variant":
        wanted.append(table.source != "control")  # made for measuring, not for reading
    if filter.with_flags:
        having = names.where(CheckFlag.name.in_(filter.with_flags))
        wanted.append(scanned(table.id).in_(having))
    if filter.without_flags:
        having = names.where(CheckFlag.name.in_(filter.without_flags))
        wanted.append(scanned(table.id).not_in(having))
    if filter.has_flags is not None:
        flagged = select(CheckFlag.id).where(target == table.id).exists()
        wanted.append(flagged if filter.has_flags else ~flagged)
    if filter.liking is not None:
        wanted.append(liked_as(session, kind, scanned(table.id), filter.liking))
    return wanted
