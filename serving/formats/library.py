"""All roles and prompt formats at hand: built in, of a user's YAML file, and in the store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError
from sqlalchemy import exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.errors import UsageError
from db.input_text import load_yaml, parse_yaml, read_text
from db.messages import Message
from db.settings import Settings
from db.tables import Generation, PromptFormat, Role
from serving.formats.definitions import (
    DIALOGUE_TASKS,
    DefinitionFile,
    FormatDefinition,
    RoleDefinition,
    Task,
)

DefinitionT = TypeVar("DefinitionT", RoleDefinition, FormatDefinition)
RowT = TypeVar("RowT", bound=Role | PromptFormat)
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Definitions:
    """Roles and formats by full name (``name@version``)."""

    roles: Mapping[str, RoleDefinition]
    formats: Mapping[str, FormatDefinition]

    def role(self, name: str) -> RoleDefinition:
        """Return the role called ``name`` or ``name@version``; a bare name is the newest."""
        return self.roles[full_name("role", name, self.roles)]

    def format(self, name: str) -> FormatDefinition:
        """Return the format called ``name`` or ``name@version``; a bare name is the newest."""
        return self.formats[full_name("prompt format", name, self.formats)]


ASKING = {"chat": "dialogue@1", "tagged": "dialogue-tagged@1"}
"""Kind of a format → the built-in one that has the tasks of dialogues."""


def form_for(form: FormatDefinition, task: Task) -> FormatDefinition:
    """Return ``form``, or the built-in format of its kind that has ``task`` if it has not."""
    if form.tasks.get(task) is not None or task not in DIALOGUE_TASKS:
        return form
    return load_definitions().format(ASKING[form.kind])


def full_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the member of ``known`` that ``name`` stands for; a bare name is its newest version.

    Raises:
        UsageError: There is none; the sentence lists what there is.
    """
    references = sorted(known)
    if name in references:
        return name
    versions = [ref for ref in references if ref.rpartition("@")[0] == name]
    if versions:
        return max(versions, key=lambda ref: int(ref.rpartition("@")[2]))
    close = get_close_matches(name, references, n=1)
    hint = Message("did you mean {close}? ", close=close[0]) if close else ""
    raise UsageError(
        "There is no {kind} {name!r}: {hint}known are {references}.",
        kind=kind,
        name=name,
        hint=hint,
        references=", ".join(references),
    )


def user_file(settings: Settings) -> Path | None:
    """Return the user's file of more formats and roles; None where there is none."""
    in_home = settings.home_dir / "formats.yaml"
    return settings.formats_file or (in_home if in_home.exists() else None)


def load_definitions(user_file: Path | None = None) -> Definitions:
    """Return the built-in definitions and those that ``user_file`` adds.

    Raises:
        UsageError: The file cannot be read or breaks a rule; every problem is named, with its line.
    """
    builtin = _builtin()
    if user_file is None:
        return _joined(builtin)
    return _joined(builtin, (user_file, *_read(user_file)))


@lru_cache(maxsize=1)
def _builtin() -> DefinitionFile:
    text = files("serving.formats").joinpath("builtin.yaml").read_text("utf-8")
    return DefinitionFile.model_validate(load_yaml(text, where="builtin.yaml"))


def _read(path: Path) -> tuple[DefinitionFile, yaml.Node | None]:
    content, root = parse_yaml(read_text(path), where=str(path))
    try:
        return DefinitionFile.model_validate({} if content is None else content), root
    except ValidationError as error:
        problems = [
            f"{_place(root, issue['loc'])}: {_message(issue['msg'])}" for issue in error.errors()
        ]
        raise _refused(path, problems) from error


def _joined(
    builtin: DefinitionFile, user: tuple[Path, DefinitionFile, yaml.Node | None] | None = None
) -> Definitions:
    roles = {role.reference: role for role in builtin.roles}
    formats = {form.reference: form for form in builtin.formats}
    if user is not None:
        path, file, root = user
        problems = _add(roles, file.roles, root, "roles")
        problems += _add(formats, file.formats, root, "formats")
        if problems:
            raise _refused(path, problems)
    return Definitions(roles=roles, formats=formats)


def _add(
    known: dict[str, DefinitionT],
    added: tuple[DefinitionT, ...],
    root: yaml.Node | None,
    key: str,
) -> list[str]:
    """Add definitions to ``known``; return a problem for each that says something else."""
    problems = []
    for index, definition in enumerate(added):
        earlier = known.setdefault(definition.reference, definition)
        if earlier.definition_hash != definition.definition_hash:
            problems.append(
                f"{_place(root, (key, index))}: {definition.reference} is already defined "
                f"differently; give it a new version, such as {_next_version(definition, known)}"
            )
    return problems


def _next_version(definition: DefinitionT, known: Mapping[str, DefinitionT]) -> int:
    return 1 + max(other.version for other in known.values() if other.name == definition.name)


def _refused(path: Path, problems: list[str]) -> UsageError:
    if len(problems) == 1:
        return UsageError("{path}, {problems}.", path=path, problems=problems[0])
    lines = "".join(f"\n  {problem}." for problem in problems)
    return UsageError(
        "{path} has {n_problems} problems:{lines}", path=path, n_problems=len(problems), lines=lines
    )


def _message(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")


def _place(root: yaml.Node | None, location: Location) -> str:
    """Return the line and the key that ``location`` names, e.g. ``line 7, formats[0].kind``."""
    node, line = root, 1 if root is None else root.start_mark.line + 1
    for part in location:
        node = _child(node, part)
        if node is None:
            break
        line = node.start_mark.line + 1
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"line {line}, {path.lstrip('.') or 'top level'}"


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                found: yaml.Node = value
                return found
    return None


@dataclass(frozen=True, slots=True)
class Stored(Generic[DefinitionT]):
    """A definition and the id of its row."""

    id: int
    definition: DefinitionT


StoredFormat = Stored[FormatDefinition]


@dataclass(frozen=True, slots=True)
class Registry:
    """Roles and formats with their row ids, by full name.

    Definitions that a file no longer holds stay here under their full name, for what was made
    with them; a bare name stands for the newest version that the files hold.
    """

    roles: Mapping[str, Stored[RoleDefinition]]
    formats: Mapping[str, StoredFormat]
    current: Definitions

    def role(self, name: str) -> Stored[RoleDefinition]:
        """Return the role called ``name`` or ``name@version``."""
        known = name in self.roles
        return self.roles[name if known else full_name("role", name, self.current.roles)]

    def format(self, name: str) -> StoredFormat:
        """Return the prompt format called ``name`` or ``name@version``."""
        known = name in self.formats
        return self.formats[
            name if known else full_name("prompt format", name, self.current.formats)
        ]


def sync_definitions(session: Session, definitions: Definitions) -> Registry:
    """Write new definitions to the store, and return all with their row ids; the caller commits.

    One that was never used may still change. One that a generation was made with may not.

    Raises:
        UsageError: A used definition was changed; every such one is named.
    """
    problems = _sync(session, "role", Role, definitions.roles, Generation.role_id)
    problems += _sync(
        session, "prompt format", PromptFormat, definitions.formats, Generation.prompt_format_id
    )
    if problems:
        raise UsageError("\n".join(problems))
    session.flush()
    roles = {
        name: Stored(row.id, RoleDefinition(name=row.name, version=row.version, system=row.system))
        for name, row in _rows(session, Role).items()
    }
    formats = {
        name: Stored(row.id, FormatDefinition.model_validate(row.definition))
        for name, row in _rows(session, PromptFormat).items()
    }
    return Registry(roles, formats, definitions)


def _rows(session: Session, table: type[RowT]) -> dict[str, RowT]:
    return {f"{row.name}@{row.version}": row for row in session.scalars(select(table))}


def _sync(
    session: Session,
    kind: str,
    table: type[Role] | type[PromptFormat],
    definitions: Mapping[str, RoleDefinition | FormatDefinition],
    used_in: InstrumentedAttribute[Any],
) -> list[str]:
    """Write definitions as rows; return a problem for each that was used and is another now."""
    problems = []
    rows = _rows(session, table)
    for reference, definition in definitions.items():
        row = rows.get(reference)
        if row is None:
            row = table(name=definition.name, version=definition.version)
            session.add(row)
        elif row.definition_hash == definition.definition_hash:
            continue
        elif session.scalar(select(exists().where(used_in == row.id))):
            newest = max(row.version for row in rows.values() if row.name == definition.name)
            problems.append(
                f"The {kind} {reference} was already used and now says something else; "
                f"give the changed one version {newest + 1}, and put {reference} back as it was."
            )
            continue
        row.definition_hash = definition.definition_hash
        if isinstance(row, Role) and isinstance(definition, RoleDefinition):
            row.system = definition.system
        elif isinstance(row, PromptFormat):
            row.definition = definition.dump()
    return problems


def load_registry(settings: Settings, session: Session) -> Registry:
    """Return formats and roles, built in and the user's own, with their rows.

    Raises:
        UsageError: The user's file of them is wrong.
    """
    return sync_definitions(session, load_definitions(user_file(settings)))
