"""What the question pages say and write, apart from drawing."""

import json
from collections.abc import Iterable

from db.questions import QuestionRow


def as_jsonl(rows: Iterable[QuestionRow]) -> bytes:
    """Return questions as JSON lines in the keys that the import reads."""
    lines = [json.dumps(_record(row), ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def _record(row: QuestionRow) -> dict[str, object]:
    record: dict[str, object] = {
        "instruction": row.text,
        "input": row.context,
        "flag": row.role,
        "reference_answer": row.reference_answer,
        "category": row.category,
        "language": row.language,
        "tags": list(row.tags),
        "external_id": row.external_id,
    }
    return {key: value for key, value in record.items() if value not in (None, "", [])}


def tags_of(typed: str) -> tuple[str, ...]:
    """Return the tags in ``typed``, separated by commas of any script, each once."""
    parts = typed.replace("、", ",").replace("，", ",").split(",")
    return tuple(dict.fromkeys(tag for part in parts if (tag := part.strip())))


def numbered_ids(ids: Iterable[int], most: int = 4_000) -> str:
    """Return token ids as people read them: separated by spaces, the first ``most`` of them."""
    listed = list(ids)
    tail = " …" if len(listed) > most else ""
    return " ".join(str(i) for i in listed[:most]) + tail
