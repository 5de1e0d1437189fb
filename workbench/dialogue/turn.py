"""The steps of a turn as small sweeps in the interactive lane: answer a question, ask the next.

Each step leaves an event with its sweep and job; as the job ends, the worker stores what the step
brought (``workbench.dialogue.finishing``). All functions take the session of an open write
transaction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import (
    DialogueRow,
    NodeRow,
    get_dialogue,
    get_node,
    read_events,
    read_nodes,
)
from db.errors import UsageError
from db.identity import json_hash
from db.jobs import INTERACTIVE_PRIORITY, JobRow, active_jobs, enqueue
from db.questions import get_question, get_questions
from db.sweeps import set_state
from db.tables import Answer, ReasoningVariant
from serving.formats.library import Registry
from serving.sweeps.plan import plan_sweep, save_asks, save_sweep
from serving.sweeps.spec import Ask, GivenName, parse_spec
from workbench.dialogue.events import (
    By,
    open_dialogue,
    open_steps,
    record,
)
from workbench.dialogue.settings import (
    DialogueSettings,
    ask_format,
    in_words,
    language_name,
    move_instructions,
    parse_settings,
)

TURNS_JOB = "dialogue"
"""Kind of the job that runs turns by themselves; see ``workbench.dialogue.auto``."""
MAX_ASKED, MAX_CHARACTERS = 12, 1_500
"""Earlier questions that a prompt tells: the last so many, and so many characters of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step under way."""

    event_id: int
    sweep_id: int
    job_id: int


def answer(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    by: By,
    *,
    variants: int | None = None,
    answers: int | None = None,
) -> Step:
    """Have the question of a node reasoned about and answered; called again, more of both.

    Args:
        session: Of an open write transaction.
        registry: The prompt formats.
        dialogue_id: The dialogue.
        node_id: The node.
        by: Who asks for it.
        variants: Reasonings, new ones; None as in the settings.
        answers: Under each reasoning; None as in the settings.

    Raises:
        UsageError: The dialogue is not open, or there is no such node or model.
    """
    _, node, settings = at(session, dialogue_id, node_id)
    none_under_way(session, dialogue_id, node_id, "answer")
    last = _last_counts(session, node)
    k = (variants or settings.variants) + (last[0] if last else 0)
    n = answers or (last[1] if last else settings.answers)
    mapping = _answering(settings, node)
    if settings.mode == "vanilla":
        mapping |= {"modes": ["vanilla"], "answers": k * n}
    else:
        mapping |= {"modes": ["reasoning"], "variants": k, "answers": n}
    sweep_id = save_sweep(
        session, plan_sweep(session, parse_spec(mapping), registry), purpose="turn"
    )
    return start_step(session, node, by, "answer", sweep_id, {"variants": k, "answers": n})


def answer_from(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    variant_id: int,
    by: By,
    *,
    answers: int | None = None,
    side: str | None = None,
) -> Step:
    """Have the question of a node answered from one reasoning: a hint, an edit, a side.

    Raises:
        UsageError: As for ``answer``; or the reasoning belongs to another question.
    """
    _, node, settings = at(session, dialogue_id, node_id)
    none_under_way(session, dialogue_id, node_id, "answer", variant_id)
    variant = session.get(ReasoningVariant, variant_id)
    if variant is None or variant.question_id != node.question_id:
        raise UsageError(
            "The reasoning v{variant_id} belongs to another question; write it anew.",
            variant_id=variant_id,
        )
    counts = [
        event.payload["answers"]
        for event in read_events(session, dialogue_id, node_id=node_id, kinds=("answer",))
        if event.payload.get("variant_id") == variant_id
    ]
    n = (answers or settings.answers) + max(counts, default=0)
    mapping = _answering(settings, node) | {
        "modes": ["supplied"],
        "reasonings": {"ids": [variant_id]},
        "answers": n,
    }
    sweep_id = save_sweep(
        session, plan_sweep(session, parse_spec(mapping), registry), purpose="turn"
    )
    return start_step(
        session,
        node,
        by,
        "answer",
        sweep_id,
        {"variant_id": variant_id, "answers": n, "side": side},
        variant_id=variant_id,
    )


def ask(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    by: By,
    *,
    moves: Sequence[str] = (),
    lists: int = 1,
) -> Step:
    """Have next questions proposed for each of ``moves`` (none given: those of the settings).

    Raises:
        UsageError: The dialogue is not open, no answer was chosen, or a move is not known.
    """
    dialogue, node, settings = at(session, dialogue_id, node_id)
    none_under_way(session, dialogue_id, node_id, "ask")
    chosen = chosen_answer(session, dialogue_id, node_id)
    if chosen is None:
        raise UsageError("Choose an answer first: the next questions go on from it.")
    wanted = parse_settings(settings.model_dump() | {"moves": tuple(moves) or settings.moves}).moves
    form = ask_format(settings, registry)
    before = [
        (one["key"], one["lists"])
        for event in read_events(session, dialogue_id, node_id=node_id, kinds=("ask",))
        for one in event.payload["asks"]
    ]
    asks, begun = [], []
    for move, given in zip(wanted, _given(session, dialogue, node, chosen, wanted), strict=True):
        key = json_hash(dict(given) | {"form": form.id, "by": settings.ask_sampling.resolved()})
        n = lists + max((count for known, count in before if known == key), default=0)
        asks.append(
            Ask(
                question_id=node.question_id,
                task="ask",
                given=given,
                format_id=form.id,
                sampling=settings.ask_sampling,
                replicates=n,
            )
        )
        begun.append({"move": move, "lists": n, "key": key})
    name = f"dialogue {dialogue_id}, question {node.position + 1}: ask"
    sweep_id = save_asks(session, registry, asks, model=settings.model, name=name)
    return start_step(session, node, by, "ask", sweep_id, {"asks": begun, "answer_id": chosen})


def chosen_answer(session: Session, dialogue_id: int, node_id: int) -> int | None:
    """Return the answer that was chosen last at a node; None where none was."""
    events = read_events(session, dialogue_id, node_id=node_id, kinds=("choose",))
    return events[-1].answer_id if events else None


def queue_step(session: Session, node: NodeRow, by: By, sweep_id: int) -> int:
    """Queue the job of a step before all other work, unless a job runs it already.

    Its time is limited as the settings say; with a job of its own the limit is kept there.
    """
    if by.job_id is not None:
        return by.job_id
    set_state(session, sweep_id, "queued")
    settings = parse_settings(get_dialogue(session, node.dialogue_id).settings)
    payload = {
        "dialogue_id": node.dialogue_id,
        "node_id": node.id,
        "limit_s": settings.turn_timeout_s,
    }
    return enqueue(
        session, "sweep", sweep_id=sweep_id, priority=INTERACTIVE_PRIORITY, payload=payload
    )


def at(
    session: Session, dialogue_id: int, node_id: int
) -> tuple[DialogueRow, NodeRow, DialogueSettings]:
    """Return an open dialogue, one of its nodes and its settings."""
    dialogue = open_dialogue(session, dialogue_id)
    node = get_node(session, dialogue_id, node_id)
    return dialogue, node, parse_settings(dialogue.settings)


def start_step(
    session: Session,
    node: NodeRow,
    by: By,
    kind: str,
    sweep_id: int,
    payload: Mapping[str, Any],
    *,
    variant_id: int | None = None,
) -> Step:
    """Queue a sweep as a step at ``node``, and tell it by an event of ``kind``."""
    job_id = queue_step(session, node, by, sweep_id)
    event_id = record(
        session,
        node,
        kind,
        by,
        {**payload, "sweep_id": sweep_id, "job_id": job_id},
        variant_id=variant_id,
    )
    return Step(event_id=event_id, sweep_id=sweep_id, job_id=job_id)


def _answering(settings: DialogueSettings, node: NodeRow) -> dict[str, Any]:
    name = f"dialogue {node.dialogue_id}, question {node.position + 1}: answer"
    return sweep_of(settings, name, [node.question_id])


def sweep_of(settings: DialogueSettings, name: str, question_ids: list[int]) -> dict[str, Any]:
    """Return a spec of a sweep over questions as the settings say; modes and counts are missing."""
    return {
        "name": name,
        "questions": {"ids": question_ids},
        "formats": [settings.prompt_format],
        "models": [settings.model],
        "reasoning_sampling": [settings.reasoning_sampling.model_dump()],
        "answer_sampling": [settings.answer_sampling.model_dump()],
    }


def _last_counts(session: Session, node: NodeRow) -> tuple[int, int] | None:
    """Return reasonings and answers that were asked for before; None where nothing came of it."""
    events = read_events(session, node.dialogue_id, node_id=node.id, kinds=("answer",))
    counts = [
        (event.payload["variants"], event.payload["answers"])
        for event in events
        if "variants" in event.payload and event.question_id == node.question_id
    ]
    has_answers = session.scalar(
        select(Answer.id).where(Answer.question_id == node.question_id).limit(1)
    )
    return counts[-1] if counts and has_answers else None


def running_turns(session: Session, dialogue_id: int) -> JobRow | None:
    """Return the job that runs turns of a dialogue by themselves; None where none does."""
    jobs = active_jobs(session, kind=TURNS_JOB)
    return next((job for job in jobs if job.payload["dialogue_id"] == dialogue_id), None)


def none_under_way(
    session: Session, dialogue_id: int, node_id: int, kind: str, variant_id: int | None = None
) -> None:
    """Refuse a step that is under way already.

    Raises:
        UsageError: It is.
    """
    for event in open_steps(read_events(session, dialogue_id, node_id=node_id)):
        if event.kind == kind and event.payload.get("variant_id") == variant_id:
            raise UsageError("The model is at it already; wait for it, or stop it.")


def _given(
    session: Session, dialogue: DialogueRow, node: NodeRow, answer_id: int, moves: Sequence[str]
) -> Iterator[dict[GivenName, str]]:
    theme = "\n".join(
        (in_words(dialogue.theme), "Asked already:", *_asked_already(session, dialogue.id))
    )
    for move in moves:
        instruction = move_instructions()[move]
        if move == "unfold" and dialogue.theme.points_of_view:
            instruction += f" Choose from these: {'; '.join(dialogue.theme.points_of_view)}."
        yield {
            "theme": theme,
            "answer": session.get_one(Answer, answer_id).text,
            "move": instruction,
            "language": language_name(
                dialogue.theme.language or get_question(session, node.question_id).language
            ),
        }


def _asked_already(session: Session, dialogue_id: int) -> list[str]:
    """Return the last questions of a dialogue, as lines."""
    ids = [node.question_id for node in read_nodes(session, dialogue_id)][-MAX_ASKED:]
    lines: list[str] = []
    left = MAX_CHARACTERS
    for question in reversed(get_questions(session, ids)):
        left -= len(question.text)
        if left < 0:
            break
        lines.insert(0, f"- {question.text}")
    return lines
