"""Reading translations: shown beside a text on demand, never a question, variant or answer."""

from sqlalchemy.orm import Session

from db.dialogues import EventRow, read_events
from db.errors import UsageError
from db.item_texts import item_text
from db.refs import Ref
from serving.engines.sampling import SamplingParameters
from serving.formats.registry import Registry
from serving.sweeps.asking import save_asks
from serving.sweeps.asks import Ask
from workbench.dialogue.ending import Ending, engine_problems, written
from workbench.dialogue.settings import ask_format
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
    _, node, settings = at(session, dialogue_id, node_id)
    asked = Ask(
        question_id=node.question_id,
        task="translate",
        given={
            "text": item_text(session, ref, None).text,
            "language": language_name(language),
        },
        format_id=ask_format(settings, registry).id,
        sampling=SAMPLING,
    )
    name = f"dialogue {dialogue_id}: translation of {ref}"
    sweep_id = save_asks(session, registry, [asked], model=settings.model, name=name)
    payload = {"ref": str(ref), "language": language}
    return start_step(session, node, by, "translate", sweep_id, payload)


def translations(session: Session, dialogue_id: int, language: str) -> dict[str, str]:
    """Return the translations of a session into ``language`` by the text's short name."""
    return {
        event.payload["ref"]: event.payload["text"]
        for event in read_events(session, dialogue_id, kinds=("translated",))
        if event.payload["language"] == language and event.payload["text"]
    }


def show_translation(session: Session, step: EventRow) -> Ending:
    """Return what a step translated, to be kept in its event alone."""
    texts = written(session, step)
    problems = engine_problems(session, step)
    if not texts:
        problems.append("No translation came.")
    elif texts[-1].is_cut:
        problems.append("The translation was cut off.")
    return Ending(
        "translated",
        {
            "ref": step.payload["ref"],
            "language": step.payload["language"],
            "text": texts[-1].text.strip() if texts else "",
            "problems": problems,
        },
    )
