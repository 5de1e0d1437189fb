from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.tables import Generation, ModelVersion, PromptFormat, Question, Role, Sampling
from serving.formats.definitions import FormatDefinition, RoleDefinition
from serving.formats.library import Definitions, Registry, load_definitions, sync_definitions

BUILTIN = load_definitions()


def with_role(version: int, system: str) -> Definitions:
    role = RoleDefinition(name="assistant", version=version, system=system)
    return replace(BUILTIN, roles={**BUILTIN.roles, role.reference: role})


def with_format(**changes: Any) -> Definitions:
    form = FormatDefinition.model_validate(BUILTIN.format("tagged").dump() | changes)
    return replace(BUILTIN, formats={**BUILTIN.formats, form.reference: form})


def generate_with(session: Session, registry: Registry) -> None:
    """Store a failed generation, which uses the newest assistant and tagged format."""
    question = Question(content_hash="q", text="Why?")
    model = ModelVersion(name="m", kind="base", digest="d")
    sampling = Sampling(content_hash="s", parameters={})
    session.add_all([question, model, sampling])
    session.flush()
    session.add(
        Generation(
            slot_key="k",
            kind="answer",
            ok=False,
            error="it stopped",
            question_id=question.id,
            mode="vanilla",
            prompt_format_id=registry.format("tagged").id,
            role_id=registry.role("assistant").id,
            model_version_id=model.id,
            sampling_id=sampling.id,
            replicate=0,
        )
    )


def sync(database: Database, definitions: Definitions = BUILTIN) -> Registry:
    with database.write() as session:
        return sync_definitions(session, definitions)


def ids(stored: Mapping[str, Any]) -> dict[str, int]:
    return {reference: one.id for reference, one in stored.items()}


def test_definitions_are_written_once_and_found_again(database: Database) -> None:
    first, second = sync(database), sync(database)
    assert ids(first.roles) == ids(second.roles)
    assert ids(first.formats) == ids(second.formats)
    assert set(first.formats) == {"tagged@1", "chat@1", "dialogue@1", "dialogue-tagged@1"}
    assert second.format("chat").definition == BUILTIN.format("chat")
    assert second.role("logician").definition == BUILTIN.role("logician")


def test_rows_hold_the_definition_and_its_hash(database: Database) -> None:
    registry = sync(database)
    with database.read() as session:
        row = session.scalars(select(PromptFormat).where(PromptFormat.name == "tagged")).one()
        assert row.id == registry.format("tagged@1").id
        assert row.definition == BUILTIN.format("tagged").dump()
        assert row.definition_hash == BUILTIN.format("tagged").definition_hash


def test_what_was_never_used_may_change(database: Database) -> None:
    before = sync(database)
    after = sync(database, with_role(1, "You are new."))
    assert after.role("assistant").id == before.role("assistant").id
    assert after.role("assistant").definition.system == "You are new."
    tasks = BUILTIN.format("tagged").dump()["tasks"]
    changed = sync(database, with_format(tasks={"vanilla": tasks["vanilla"]}))
    assert list(changed.format("tagged").definition.tasks.given()) == ["vanilla"]


def test_what_was_used_may_not_change_and_every_change_is_named(database: Database) -> None:
    with database.write() as session:
        generate_with(session, sync_definitions(session, BUILTIN))
    both = replace(
        with_role(1, "You are new."),
        formats=with_format(tags=["<|response|>", "<|more|>"]).formats,
    )
    with pytest.raises(UsageError) as refused:
        sync(database, both)
    message = str(refused.value)
    assert "role assistant@1 was already used" in message
    assert "prompt format tagged@1 was already used" in message
    assert "give the changed one version 2" in message
    with database.read() as session:
        stored = session.scalars(select(Role).where(Role.name == "assistant")).one()
        assert stored.system == BUILTIN.role("assistant").system


def test_a_new_version_stands_beside_the_used_one(database: Database) -> None:
    with database.write() as session:
        generate_with(session, sync_definitions(session, BUILTIN))
    registry = sync(database, with_role(2, "You are new."))
    assert registry.role("assistant").definition.system == "You are new."
    assert registry.role("assistant@1").definition == BUILTIN.role("assistant")


def test_a_definition_that_left_the_file_is_kept_under_its_full_name(database: Database) -> None:
    sync(database, with_role(2, "You are new."))
    registry = sync(database)
    assert registry.role("assistant").definition.version == 1
    assert registry.role("assistant@2").definition.system == "You are new."


def test_an_unknown_name_is_told(database: Database) -> None:
    with pytest.raises(UsageError, match="There is no role 'king'"):
        sync(database).role("king")
