"""Reading translations: shown beside a text on demand, never a question, variant or answer."""

import re
from typing import Any

from sqlalchemy.orm import Session

from db.dialogues import EventRow, NodeRow, read_events
from db.errors import UsageError
from db.identity import parse_ref
from db.jobs import JobEnd
from db.texts.provenance import item_text
from serving.engine.messages import SamplingParameters
from serving.formats.library import Registry
from serving.sweeps.plan import save_asks
from serving.sweeps.spec import Ask
from workbench.dialogue.decisions import candidate_of
from workbench.dialogue.events import By
from workbench.dialogue.settings import ask_format, language_name
from workbench.dialogue.step_result import engine_problems, written
from workbench.dialogue.turn import Step, at, start_step

SAMPLING = SamplingParameters(temperature=0.2, max_tokens=700)
KINDS = ("question", "variant", "answer")
_PART = re.compile(r"(?P<kind>[cs])(?P<event>\d+)\.(?P<place>\d+)")


def candidate_name(event_id: int, place: int) -> str:
    """Return what stands for a proposed question among the names of translated texts."""
    return f"c{event_id}.{place}"


def line_name(event_id: int, place: int) -> str:
    """Return what stands for a line of a synopsis among the names of translated texts."""
    return f"s{event_id}.{place}"


def translate(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    name: str,
    language: str,
    by: By,
) -> Step:
    """Have a text translated for reading; the step is one of the node where it is read.

    Args:
        session: Of an open write transaction.
        registry: The prompt formats.
        dialogue_id: The dialogue.
        node_id: Where the text is read.
        name: Of a question, reasoning or answer (``q12``, ``v3``, ``a7``), or what
            ``candidate_name`` and ``line_name`` return.
        language: ISO 639-1 code of the language to read in.
        by: Who reads.

    Raises:
        UsageError: There is no such text.
    """
    _, node, settings = at(session, dialogue_id, node_id)
    text = _text_of(session, node, name)
    asked = Ask(
        question_id=node.question_id,
        task="translate",
        given={"text": text, "language": language_name(language)},
        format_id=ask_format(settings, registry).id,
        sampling=SAMPLING,
        replicates=1 + _tried(session, dialogue_id, name, language),
    )
    sweep_id = save_asks(
        session,
        registry,
        [asked],
        model=settings.model,
        name=f"dialogue {dialogue_id}: translation of {name}",
    )
    payload = {"ref": name, "language": language}
    return start_step(session, node, by, "translate", sweep_id, payload)


def _text_of(session: Session, node: NodeRow, name: str) -> str:
    if part := _PART.fullmatch(name):
        event_id, place = int(part["event"]), int(part["place"])
        if part["kind"] == "c":
            return str(candidate_of(session, node, event_id, place)["text"])
        kinds = ("synopsis_written", "synopsis_edited")
        for event in read_events(session, node.dialogue_id, kinds=kinds):
            if event.id == event_id and place < len(event.payload["lines"]):
                return str(event.payload["lines"][place]["text"])
        raise UsageError("The synopsis has no such line; look at it once more.")
    ref = parse_ref(name)
    if ref.kind not in KINDS:
        raise UsageError(
            "{ref} cannot be translated; name a question, reasoning or answer.", ref=ref
        )
    return item_text(session, ref, None).text


def _tried(session: Session, dialogue_id: int, name: str, language: str) -> int:
    """Return how often a text was to be translated before: another try is another replicate."""
    before = read_events(session, dialogue_id, kinds=("translate",))
    wanted = (name, language)
    return sum((e.payload["ref"], e.payload["language"]) == wanted for e in before) % 32


def translations(session: Session, dialogue_id: int, language: str) -> dict[str, str]:
    """Return the translations of a dialogue into ``language`` by the text's short name."""
    return {
        event.payload["ref"]: event.payload["text"]
        for event in read_events(session, dialogue_id, kinds=("translated",))
        if event.payload["language"] == language and event.payload["text"]
    }


def translation_result(session: Session, step: EventRow, end: JobEnd) -> dict[str, Any]:
    """Return what a step translated, to be kept in its event alone."""
    texts = written(session, step)
    text = texts[-1].text.strip() if texts else ""
    problems = engine_problems(session, step, end)
    if not text:
        problems.append("No translation came.")
    elif texts[-1].is_cut:
        problems.append("The translation was cut off.")
    own = {name: step.payload[name] for name in ("ref", "language")}
    return {**own, "text": text, "problems": problems}
