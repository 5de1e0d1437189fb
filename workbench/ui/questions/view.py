"""What the question pages say and write, apart from drawing."""

from collections.abc import Iterable

from db.questions import QuestionRow
from serving.importers.records import question_line


def as_jsonl(rows: Iterable[QuestionRow]) -> bytes:
    """Return questions as JSON lines in the keys that the import reads."""
    return "".join(f"{question_line(row)}\n" for row in rows).encode()


def tags_of(typed: str) -> tuple[str, ...]:
    """Return the tags in ``typed``, separated by commas of any script, each once."""
    parts = typed.replace("、", ",").replace("，", ",").split(",")
    return tuple(dict.fromkeys(tag for part in parts if (tag := part.strip())))


def numbered_ids(ids: Iterable[int], most: int = 4_000) -> str:
    """Return token ids as people read them: separated by spaces, the first ``most`` of them."""
    listed = list(ids)
    tail = " …" if len(listed) > most else ""
    return " ".join(str(i) for i in listed[:most]) + tail
