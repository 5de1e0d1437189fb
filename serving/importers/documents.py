"""JSON and JSONL to records, OpenAI batch requests and chat rows included."""

import json
from typing import Any

from serving.importers.source import Record, Source

_BATCH_KEYS = ("body", "messages")


def jsonl_records(source: Source, text: str, *, chats: bool = True) -> list[Record]:
    """Return the records of a text with one JSON object a line; broken lines become problems.

    With ``chats``, rows of messages and batch requests become one question each; without, they
    stay as they are.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            source.refuse(number, None, f"{_reason(error)}; write one JSON object on each line.")
            continue
        record = _record(source, number, value, chats=chats)
        if record is not None:
            records.append(record)
    return records


def json_records(source: Source, text: str, *, chats: bool = True) -> list[Record]:
    """Return the records of a JSON list, of ``{"data": [...]}``, or of JSONL under another name.

    ``chats`` as in ``jsonl_records``.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return jsonl_records(source, text, chats=chats)
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        source.refuse(None, None, f"{_reason(error)}{place}; correct it there and import again.")
        return []
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        source.refuse(None, None, 'holds no list; write [{"instruction": …}, …].')
        return []
    source.unit = "item"
    items = enumerate(value, start=1)
    records = (_record(source, number, item, chats=chats) for number, item in items)
    return [record for record in records if record is not None]


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no valid JSON ({error.msg}, column {error.colno})"
    if isinstance(error, RecursionError):
        return "no valid JSON (nested too deeply)"
    return "holds a number of thousands of digits, which must be a text in quotes"


def _record(source: Source, number: int, value: Any, *, chats: bool) -> Record | None:
    if not isinstance(value, dict):
        kind = "null" if value is None else type(value).__name__
        source.refuse(number, None, f'holds {kind}; write an object such as {{"instruction": …}}.')
        return None
    if not chats:
        return Record(number, value)
    if "custom_id" in value and "response" in value and "body" not in value:
        source.refuse(
            number, None, "is the output of a batch; import the file with the requests instead."
        )
        return None
    if any(key in value for key in _BATCH_KEYS):
        return _chat_record(source, number, value)
    return Record(number, value)


def _chat_record(source: Source, number: int, value: dict[str, Any]) -> Record | None:
    """Return the record of a batch request or a chat row: one user message, at most one of each."""
    body = value.get("body", value)
    rest = {key: one for key, one in value.items() if key not in ("body", "messages")}
    for used in ("method", "url") if "body" in value else ():
        rest.pop(used, None)
    if not isinstance(body, dict):
        source.refuse(number, "body", "holds no object; give the request.")
        return None
    if "messages" not in body:
        text = body.get("prompt", body.get("input"))
        return Record(number, {**rest, "instruction": text, "input": body.get("instructions")})
    said: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    messages = body["messages"] if isinstance(body["messages"], list) else []
    for message in messages:
        speaker = message.get("role") if isinstance(message, dict) else None
        content = _content(message.get("content")) if isinstance(message, dict) else None
        speaker = "system" if speaker == "developer" else speaker
        if speaker not in said or content is None:
            source.refuse(
                number,
                "messages",
                "holds a message without text or from someone else than system, user, assistant; "
                "remove it.",
            )
            return None
        said[speaker].append(content)
    if len(said["user"]) != 1 or len(said["system"]) > 1 or len(said["assistant"]) > 1:
        source.refuse(
            number,
            "messages",
            f"holds {len(messages)} messages; a question needs exactly one user message, with at "
            "most one system and one assistant message.",
        )
        return None
    columns = {"instruction": "user", "input": "system", "output": "assistant"}
    found = {column: said[speaker][0] for column, speaker in columns.items() if said[speaker]}
    return Record(number, {**rest, **found})


def _content(content: Any) -> str | None:
    """Return the text of a message; None where it holds anything else, such as an image."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts))
    return None
