"""Settings given to ``q2q dialogue``: read, and checked before anything is stored with them."""

from collections.abc import Mapping, Sequence
from typing import Any

from db.database import Database
from db.dialogues import get_dialogue
from db.errors import UsageError
from db.input_text import load_yaml
from db.rating.ratings import ensure_rater
from db.settings import Settings
from serving.sweeps.selection import DEFAULT_MODEL
from workbench.cli.dialogue_places import node_of
from workbench.cli.output import say
from workbench.cli.planning import look_for_models
from workbench.cli.rendering import load_registry
from workbench.dialogue.sessions import fork
from workbench.dialogue.settings import check_names, parse_settings
from workbench.dialogue.turn import By


def check_settings(settings: Settings, database: Database, values: Mapping[str, Any]) -> None:
    """Refuse settings of a dialogue that are wrong, or name what is not there.

    Raises:
        UsageError: They are; remote servers have been asked for the model by then.
    """
    wanted = parse_settings(values)
    if wanted.model != DEFAULT_MODEL:
        look_for_models(settings, database, [wanted.model], say)
    with database.write() as session:
        check_names(session, load_registry(settings, session), wanted)


def make_fork(
    settings: Settings,
    database: Database,
    dialogue_id: int,
    number: int,
    changes: Mapping[str, Any],
    *,
    name: str,
    reason: str,
    rater: str,
) -> int:
    """Begin a dialogue of its own at a question; return its number."""
    if changes:
        with database.read() as session:
            before = get_dialogue(session, dialogue_id).settings
        check_settings(settings, database, {**before, **changes})
    with database.write() as session:
        by = By(rater_id=ensure_rater(session, rater))
        node_id = node_of(session, dialogue_id, number)
        return fork(
            session,
            dialogue_id,
            node_id,
            by,
            name=name or None,
            settings=changes,
            reason=reason or None,
        )


def parse_set(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the settings in ``NAME=VALUE`` pairs; values are YAML, e.g. ``moves=[rebut, gap]``.

    Raises:
        UsageError: One is no such pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UsageError(f"{pair!r} is no setting: write NAME=VALUE, e.g. variants=4.")
        found[name] = load_yaml(value, where=f"{pair!r}: the value")
    return found
