"""The definitions at hand, matched with their rows in the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.tables import Generation, PromptFormat, Role
from serving.formats.definitions import FormatDefinition, RoleDefinition
from serving.formats.library import Definitions, full_name


@dataclass(frozen=True, slots=True)
class StoredRole:
    """A role and the id of its row."""

    id: int
    definition: RoleDefinition


@dataclass(frozen=True, slots=True)
class StoredFormat:
    """A prompt format and the id of its row."""

    id: int
    definition: FormatDefinition


StoredT = TypeVar("StoredT", StoredRole, StoredFormat)


@dataclass(frozen=True, slots=True)
class Registry:
    """Roles and formats with their row ids, by full name.

    Definitions that a file no longer holds stay here under their full name, for what was made
    with them; a bare name stands for the newest version that the files hold.
    """

    roles: Mapping[str, StoredRole]
    formats: Mapping[str, StoredFormat]
    current: Definitions

    def role(self, name: str) -> StoredRole:
        """Return the role called ``name`` or ``name@version``."""
        return _named("role", name, self.roles, self.current.roles)

    def format(self, name: str) -> StoredFormat:
        """Return the prompt format called ``name`` or ``name@version``."""
        return _named("prompt format", name, self.formats, self.current.formats)


def sync_definitions(session: Session, definitions: Definitions) -> Registry:
    """Write new definitions to the store, and return all with their row ids; the caller commits.

    One that was never used may still change. One that a generation was made with may not.

    Raises:
        UsageError: A used definition was changed; every such one is named.
    """
    problems = [
        *_sync_roles(session, definitions.roles),
        *_sync_formats(session, definitions.formats),
    ]
    if problems:
        raise UsageError("\n".join(problems))
    session.flush()
    roles = {
        f"{row.name}@{row.version}": StoredRole(
            row.id, RoleDefinition(name=row.name, version=row.version, system=row.system)
        )
        for row in session.scalars(select(Role))
    }
    formats = {
        f"{row.name}@{row.version}": StoredFormat(
            row.id, FormatDefinition.model_validate(row.definition)
        )
        for row in session.scalars(select(PromptFormat))
    }
    return Registry(roles, formats, definitions)


def _sync_roles(session: Session, roles: Mapping[str, RoleDefinition]) -> list[str]:
    problems = []
    rows = {f"{row.name}@{row.version}": row for row in session.scalars(select(Role))}
    for reference, role in roles.items():
        row = rows.get(reference)
        if row is None:
            row = Role(name=role.name, version=role.version)
            session.add(row)
        elif row.definition_hash != role.definition_hash and _role_is_used(session, row.id):
            problems.append(_changed("role", reference, role.name, rows))
            continue
        row.system, row.definition_hash = role.system, role.definition_hash
    return problems


def _sync_formats(session: Session, formats: Mapping[str, FormatDefinition]) -> list[str]:
    problems = []
    rows = {f"{row.name}@{row.version}": row for row in session.scalars(select(PromptFormat))}
    for reference, form in formats.items():
        row = rows.get(reference)
        if row is None:
            row = PromptFormat(name=form.name, version=form.version)
            session.add(row)
        elif row.definition_hash != form.definition_hash and _format_is_used(session, row.id):
            problems.append(_changed("prompt format", reference, form.name, rows))
            continue
        row.definition, row.definition_hash = form.dump(), form.definition_hash
    return problems


def _role_is_used(session: Session, role_id: int) -> bool:
    return bool(session.scalar(select(exists().where(Generation.role_id == role_id))))


def _format_is_used(session: Session, format_id: int) -> bool:
    return bool(session.scalar(select(exists().where(Generation.prompt_format_id == format_id))))


def _changed(
    kind: str, reference: str, name: str, rows: Mapping[str, PromptFormat] | Mapping[str, Role]
) -> str:
    newest = max(row.version for row in rows.values() if row.name == name)
    return (
        f"The {kind} {reference} was already used and now says something else; "
        f"give the changed one version {newest + 1}, and put {reference} back as it was."
    )


def _named(
    kind: str, name: str, stored: Mapping[str, StoredT], current: Mapping[str, object]
) -> StoredT:
    if name in stored:
        return stored[name]
    return stored[full_name(kind, name, current)]
