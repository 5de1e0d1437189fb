"""The questions of a dialogue through another model, adapter, format or role, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import DialogueRow, EventRow, get_dialogue, read_events
from db.errors import UsageError
from db.jobs import INTERACTIVE_PRIORITY
from db.models import find_model, get_model
from db.sweeps import failure_reasons, get_sweep
from db.tables import Answer, SweepGeneration
from serving.formats.library import Registry
from serving.models.as_served import as_served, stored_version
from serving.sweeps.plan import queue_sweep
from serving.sweeps.selection import select_models
from serving.sweeps.spec import parse_spec
from workbench.dialogue.events import By, record
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.tree import read_tree
from workbench.dialogue.turn import Step, sweep_of
from workbench.stats.diversity import similarity

CHANGES = ("model", "adapter", "prompt_format", "role")
"""What a replay can change, each by itself; ``adapter`` keeps the base of the dialogue's model."""
NO_ADAPTER = "none"
"""As the adapter: the base alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLine:
    """One question with what was chosen before and what came now."""

    number: int
    """Of the question in its dialogue, from 1."""
    node_id: int
    question: str
    before: str | None
    """The chosen answer; None where none was."""
    after: tuple[str, ...]
    answer_ids: tuple[int, ...]
    likeness: float | None
    """Of the chosen answer and the nearest new one, 0 to 1, by wording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A dialogue answered anew."""

    dialogue_id: int
    sweep_id: int
    changes: Mapping[str, Any]
    model: str
    """Name of the model that wrote it."""
    state: str
    """Of its sweep."""
    lines: tuple[ReplayLine, ...]
    problems: tuple[str, ...]


def start_replay(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    changes: Mapping[str, str],
    *,
    variants: int = 1,
) -> Step:
    """Queue a sweep over all questions of a dialogue; the dialogue itself stays as it is.

    Args:
        session: Of an open write transaction.
        registry: The prompt formats.
        dialogue_id: The dialogue, whatever its state.
        changes: Of ``CHANGES``, what is to be another one.
        variants: Reasonings for each question, one answer under each.

    Raises:
        UsageError: Nothing is changed, or what is named is not there.
    """
    if unknown := [name for name in changes if name not in CHANGES]:
        raise UsageError(
            "A replay changes {changes}, not {unknown}.",
            changes=", ".join(CHANGES),
            unknown=unknown[0],
        )
    if not changes:
        raise UsageError(
            "Name what is to be another one: the model, the adapter, the prompt format or the role."
        )
    if "model" in changes and "adapter" in changes:
        raise UsageError("Name a model or an adapter: an adapter is served on its own base.")
    dialogue = get_dialogue(session, dialogue_id)
    settings = parse_settings(
        {**dialogue.settings, **changes_of_settings(session, dialogue, changes)}
    )
    (model,) = select_models(session, [settings.model], "model")
    ids = list(dict.fromkeys(node.question_id for node in read_tree(session, dialogue_id).nodes))
    spec = sweep_of(settings, f"dialogue {dialogue_id}: replay", ids) | {
        "modes": [settings.mode],
        "variants": variants,
        "answers": variants if settings.mode == "vanilla" else 1,
    }
    if "role" in changes:
        spec["roles"] = [settings.role]
    sweep_id, job_id = queue_sweep(
        session, parse_spec(spec), registry, purpose="replay", priority=INTERACTIVE_PRIORITY
    )
    payload = {
        "replay_sweep_id": sweep_id,
        "replay_job_id": job_id,
        "changes": dict(changes),
        "model": model.name,
    }
    event_id = record(session, dialogue_id, "replay", By(), payload)
    return Step(event_id=event_id, sweep_id=sweep_id, job_id=job_id)


def changes_of_settings(
    session: Session, dialogue: DialogueRow, changes: Mapping[str, str]
) -> dict[str, str]:
    """Return ``changes`` as settings of a dialogue: an adapter is a model version like others.

    Raises:
        UsageError: There is no such adapter, it was trained on another base, or there is none to
            leave out.
    """
    found = dict(changes)
    name = found.pop("adapter", None)
    if name is None:
        return found
    (own,) = select_models(session, [parse_settings(dialogue.settings).model], "model")
    base = get_model(session, own.family_id)
    if name == NO_ADAPTER:
        if own.kind != "adapter":
            raise UsageError(
                "{own_name} has no adapter that could be left out ({own_kind}); name another"
                " model.",
                own_name=own.name,
                own_kind=own.kind,
            )
        return found | {"model": base.name}
    adapter = find_model(session, name)
    if adapter.kind != "adapter":
        raise UsageError(
            "{adapter_name} is no adapter ({adapter_kind}); name it as the model.",
            adapter_name=adapter.name,
            adapter_kind=adapter.kind,
        )
    stored = stored_version(session, base)
    # Of a merge: the base that it was merged into.
    if stored_version(session, adapter).base_id not in (stored.id, stored.base_id):
        raise UsageError(
            "The adapter {adapter_name} belongs to another base than {own_name}; to answer anew on"
            " its own base, name it as the model.",
            adapter_name=adapter.name,
            own_name=own.name,
        )
    if base.stored_id is not None and base.precision is not None:  # on its base as that is served
        adapter = as_served(session, adapter, base.precision)
    return found | {"model": adapter.name}


def replays(session: Session, dialogue_id: int) -> list[EventRow]:
    """Return the replays of a dialogue, oldest first; the payload names sweep, job, changes."""
    return read_events(session, dialogue_id, kinds=("replay",))


def read_replay(session: Session, dialogue_id: int, sweep_id: int) -> Replay:
    """Return a replay as far as it has come.

    Raises:
        UsageError: The dialogue has no such replay.
    """
    event = next(
        (e for e in replays(session, dialogue_id) if e.payload["replay_sweep_id"] == sweep_id), None
    )
    if event is None:
        raise UsageError(
            "The dialogue {dialogue_id} has no replay {sweep_id}.",
            dialogue_id=dialogue_id,
            sweep_id=sweep_id,
        )
    tree = read_tree(session, dialogue_id)
    answers: dict[int, list[tuple[int, str]]] = {}
    for question_id, answer_id, text in session.execute(
        select(Answer.question_id, Answer.id, Answer.text)
        .join(SweepGeneration, SweepGeneration.generation_id == Answer.generation_id)
        .where(SweepGeneration.sweep_id == sweep_id)
        .order_by(Answer.id)
    ):
        answers.setdefault(question_id, []).append((answer_id, text))
    chosen = [node.answer_id for node in tree.nodes if node.answer_id is not None]
    before = dict(
        session.execute(select(Answer.id, Answer.text).where(Answer.id.in_(chosen))).all()
    )
    lines = []
    for node in tree.nodes:
        new = answers.get(node.question_id, [])
        old = before.get(node.answer_id) if node.answer_id else None
        lines.append(
            ReplayLine(
                number=node.position + 1,
                node_id=node.id,
                question=node.question,
                before=old,
                after=tuple(text for _, text in new),
                answer_ids=tuple(answer_id for answer_id, _ in new),
                likeness=_nearest(old, [text for _, text in new]),
            )
        )
    sweep, changes = get_sweep(session, sweep_id), event.payload["changes"]
    own_model = changes.get("model") or parse_settings(tree.dialogue.settings).model
    return Replay(
        dialogue_id=dialogue_id,
        sweep_id=sweep_id,
        changes=changes,
        model=event.payload.get("model") or own_model,
        state=sweep.state,
        lines=tuple(lines),
        problems=tuple(filter(None, (sweep.error, *map(str, failure_reasons(session, sweep_id))))),
    )


def _nearest(old: str | None, new: list[str]) -> float | None:
    if not old or not new:
        return None
    return float(similarity([old, *new])[0, 1:].max())
