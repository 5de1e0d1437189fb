"""The running synopsis of a dialogue: what is known now, what is open; each line with its nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import EventRow, get_dialogue, read_events, read_nodes
from db.errors import UsageError
from db.input_text import plain
from db.jobs import JobEnd
from db.messages import Message
from db.questions import get_questions
from db.tables import Answer
from serving.formats.library import Registry
from serving.formats.parse import read_json_list
from serving.sweeps.plan import save_asks
from serving.sweeps.spec import Ask
from workbench.dialogue.events import By, open_dialogue, record
from workbench.dialogue.settings import ask_format, in_words, language_name
from workbench.dialogue.step_result import engine_problems, written
from workbench.dialogue.turn import Step, at, none_under_way, start_step

LineKind = Literal["known", "open"]
TEMPERATURE = 0.3
"""Lower than for questions: a synopsis says what was said."""
MAX_ANSWER, MAX_TEXT = 500, 5_000
"""Characters of one answer, and of all questions and answers, that the model reads."""
MAX_LINE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SynopsisLine:
    """One line, and what supports it."""

    kind: LineKind
    text: str
    node_ids: tuple[int, ...]
    """Empty where the model named none that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synopsis:
    """The synopsis as it stands."""

    lines: tuple[SynopsisLine, ...]
    is_edited: bool
    """A person had the last word."""
    problems: tuple[str, ...]
    event: EventRow


def write_synopsis(session: Session, registry: Registry, dialogue_id: int, by: By) -> Step:
    """Have the dialogue summed up from its chosen answers.

    Raises:
        UsageError: The dialogue is not open, or no answer was chosen yet.
    """
    nodes = read_nodes(session, dialogue_id)
    if not nodes:
        raise UsageError("The dialogue {dialogue_id} has no question.", dialogue_id=dialogue_id)
    dialogue, root, settings = at(session, dialogue_id, nodes[0].id)
    none_under_way(session, dialogue_id, root.id, "synopsis")
    text = _questions_and_answers(session, dialogue_id)
    if not text:
        raise UsageError("Choose an answer first: the synopsis sums up chosen answers.")
    asked = Ask(
        question_id=root.question_id,
        task="synopsis",
        given={
            "theme": in_words(dialogue.theme),
            "text": text,
            "language": language_name(dialogue.theme.language),
        },
        format_id=ask_format(settings, registry).id,
        sampling=settings.ask_sampling.model_copy(update={"temperature": TEMPERATURE}),
        replicates=1 + _earlier(session, dialogue_id),
    )
    name = f"dialogue {dialogue_id}: synopsis"
    sweep_id = save_asks(session, registry, [asked], model=settings.model, name=name)
    return start_step(session, root, by, "synopsis", sweep_id, {})


def edit_synopsis(session: Session, dialogue_id: int, lines: Sequence[SynopsisLine], by: By) -> int:
    """Store the synopsis as a person wants it; return the event's id.

    Raises:
        UsageError: A line is too long, or names a node that is not there.
    """
    open_dialogue(session, dialogue_id)
    known = {node.id for node in read_nodes(session, dialogue_id)}
    new = []
    for line in lines:
        text = " ".join(plain(line.text)[0].split())
        if len(text) > MAX_LINE:
            raise UsageError("A line has {n} characters; {most} fit.", n=len(text), most=MAX_LINE)
        if unknown := [one for one in line.node_ids if one not in known]:
            raise UsageError(
                "There is no question with the number {unknown} here.", unknown=unknown[0]
            )
        if text:
            new.append({"kind": line.kind, "text": text, "nodes": list(line.node_ids)})
    return record(session, dialogue_id, "synopsis_edited", by, {"lines": new})


def read_synopsis(session: Session, dialogue_id: int) -> Synopsis | None:
    """Return the synopsis as it stands; None where there is none yet."""
    events = read_events(session, dialogue_id, kinds=("synopsis_written", "synopsis_edited"))
    if not events:
        return None
    last = events[-1]
    if last.kind == "synopsis_written" and not last.payload["lines"]:
        last = next((one for one in reversed(events) if one.payload["lines"]), last)
    return Synopsis(
        lines=tuple(
            SynopsisLine(kind=one["kind"], text=one["text"], node_ids=tuple(one["nodes"]))
            for one in last.payload["lines"]
        ),
        is_edited=last.kind == "synopsis_edited",
        problems=tuple(events[-1].payload.get("problems", ())),
        event=last,
    )


def synopsis_result(session: Session, step: EventRow, end: JobEnd) -> dict[str, Any]:
    """Return what a step wrote as lines."""
    nodes = {node.position + 1: node.id for node in read_nodes(session, step.dialogue_id)}
    problems = engine_problems(session, step, end)
    texts = written(session, step)
    lines: list[dict[str, Any]] = []
    if texts:
        found = read_json_list(texts[-1].text)
        lines = [line for item in (found.items if found else ()) if (line := _line(item, nodes))]
        if found is None or found.problem or not lines:
            reason = found.problem if found and found.problem else "there are no lines in it"
            problems.append(Message("The synopsis could not be read in full: {why}.", why=reason))
    return {"lines": lines, "problems": problems}


def _line(item: object, nodes: Mapping[int, int]) -> dict[str, Any] | None:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return None
    text = " ".join(item["text"].split())[:MAX_LINE]
    numbers = item.get("questions")
    named = numbers if isinstance(numbers, list) else []
    ids = [nodes[one] for one in named if isinstance(one, int) and one in nodes]
    kind = "open" if item.get("kind") == "open" else "known"
    return {"kind": kind, "text": text, "nodes": list(dict.fromkeys(ids))} if text else None


def _questions_and_answers(session: Session, dialogue_id: int) -> str:
    """Return the questions with their numbers and chosen answers, the newest ones if too long."""
    get_dialogue(session, dialogue_id)
    chosen = {
        event.node_id: event.answer_id
        for event in read_events(session, dialogue_id, kinds=("choose",))
    }
    nodes = [node for node in read_nodes(session, dialogue_id) if node.id in chosen]
    rows = session.execute(select(Answer.id, Answer.text).where(Answer.id.in_(chosen.values())))
    answers: dict[int | None, str] = dict(rows.all())
    questions = {q.id: q.text for q in get_questions(session, [n.question_id for n in nodes])}
    parts: list[str] = []
    left = MAX_TEXT
    for node in reversed(nodes):
        answer = answers.get(chosen[node.id], "")
        short = answer if len(answer) <= MAX_ANSWER else answer[:MAX_ANSWER] + " …"
        part = f"{node.position + 1}. {questions[node.question_id]}\n{short}"
        left -= len(part)
        if left < 0 and parts:
            break
        parts.insert(0, part)
    return "\n\n".join(parts)


def _earlier(session: Session, dialogue_id: int) -> int:
    return len(read_events(session, dialogue_id, kinds=("synopsis",))) % 32
