"""Reading translations: shown beside a text on demand, never a question, variant or answer."""

from collections.abc import Collection

from sqlalchemy.orm import Session

from db.dialogues import EventRow, read_events, read_nodes
from db.errors import UsageError
from db.identity import Ref
from db.jobs import JobEnd
from db.texts.provenance import item_text
from serving.engine.messages import SamplingParameters
from serving.formats.library import Registry
from serving.sweeps.plan import save_asks
from serving.sweeps.spec import Ask
from workbench.dialogue.decisions import candidate_of
from workbench.dialogue.settings import ask_format
from workbench.dialogue.step_result import StepResult, engine_problems, written
from workbench.dialogue.synopsis import read_synopsis
from workbench.dialogue.themes import language_name
from workbench.dialogue.turn import By, Step, at, start_step

SAMPLING = SamplingParameters(temperature=0.2, max_tokens=700)
KINDS = ("question", "variant", "answer")


def translate(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    ref: Ref,
    language: str,
    by: By,
) -> Step:
    """Have a question, reasoning or answer translated for reading.

    Args:
        session: Of an open write transaction.
        registry: The prompt formats.
        dialogue_id: The session.
        node_id: Where the text is read.
        ref: The text.
        language: ISO 639-1 code of the language to read in.
        by: Who reads.

    Raises:
        UsageError: There is no such text.
    """
    if ref.kind not in KINDS:
        raise UsageError(f"{ref} cannot be translated; name a question, reasoning or answer.")
    text = item_text(session, ref, None).text
    return _start(session, registry, dialogue_id, node_id, str(ref), text, language, by)


def candidate_name(event_id: int, place: int) -> str:
    """Return what stands for a proposed question among the names of translated texts."""
    return f"c{event_id}.{place}"


def translate_candidate(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    event_id: int,
    place: int,
    language: str,
    by: By,
) -> Step:
    """Have a question translated that was proposed at a node and is none of the store's yet.

    Raises:
        UsageError: There is no such proposal.
    """
    _, node, _ = at(session, dialogue_id, node_id)
    text: str = candidate_of(session, node, event_id, place)["text"]
    name = candidate_name(event_id, place)
    return _start(session, registry, dialogue_id, node_id, name, text, language, by)


def line_name(event_id: int, place: int) -> str:
    """Return what stands for a line of a synopsis among the names of translated texts."""
    return f"s{event_id}.{place}"


def translate_lines(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    names: Collection[str],
    language: str,
    by: By,
) -> list[Step]:
    """Have lines of the synopsis as it stands translated, those with ``names``.

    Raises:
        UsageError: The session is not open.
    """
    root = read_nodes(session, dialogue_id)[0].id
    found = read_synopsis(session, dialogue_id)
    lines = found.lines if found else ()
    named = {line_name(found.event.id, i): one.text for i, one in enumerate(lines) if found}
    return [
        _start(session, registry, dialogue_id, root, name, text, language, by)
        for name, text in named.items()
        if name in names
    ]


def _start(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    name: str,
    text: str,
    language: str,
    by: By,
) -> Step:
    _, node, settings = at(session, dialogue_id, node_id)
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


def _tried(session: Session, dialogue_id: int, name: str, language: str) -> int:
    """Return how often a text was to be translated before: another try is another replicate."""
    before = read_events(session, dialogue_id, kinds=("translate",))
    wanted = (name, language)
    return sum((e.payload["ref"], e.payload["language"]) == wanted for e in before) % 32


def translations(session: Session, dialogue_id: int, language: str) -> dict[str, str]:
    """Return the translations of a session into ``language`` by the text's short name."""
    return {
        event.payload["ref"]: event.payload["text"]
        for event in read_events(session, dialogue_id, kinds=("translated",))
        if event.payload["language"] == language and event.payload["text"]
    }


def translation_result(session: Session, step: EventRow, end: JobEnd) -> StepResult:
    """Return what a step translated, to be kept in its event alone."""
    texts = written(session, step)
    text = texts[-1].text.strip() if texts else ""
    problems = engine_problems(session, step, end)
    if not text:
        problems.append("No translation came.")
    elif texts[-1].is_cut:
        problems.append("The translation was cut off.")
    return StepResult(
        "translated",
        {
            "ref": step.payload["ref"],
            "language": step.payload["language"],
            "text": text,
            "problems": problems,
        },
    )
