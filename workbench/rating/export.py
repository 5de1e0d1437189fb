"""Ratings out of the store, each row with everything needed to understand it alone.

A row names its texts twice: by id and by their words.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Integer, bindparam, select, text

from db.database import Database
from db.rating.ratings import overruled
from db.rating.remarks import cards_said
from db.tables import Rating

_ORIGIN = ("model", "prompt_format", "mode", "temperature", "top_p", "max_tokens", "seed", "source")
COLUMNS: Final[Mapping[str, Literal["text", "integer", "number", "flag"]]] = {
    **dict.fromkeys(("card_id", "rater", "rater_kind", "rater_model"), "text"),
    **dict.fromkeys(("scope", "axis", "axis_definition", "outcome"), "text"),
    "value": "number",
    "label": "text",
    **dict.fromkeys(("question_id", "variant_id", "answer_id"), "integer"),
    **dict.fromkeys(("other_variant_id", "other_answer_id"), "integer"),
    **dict.fromkeys(("question", "context", "role", "language", "reasoning", "answer"), "text"),
    **dict.fromkeys(("other_reasoning", "other_answer"), "text"),
    **{
        f"{side}{name}": "text"
        if name in ("model", "prompt_format", "mode", "source")
        else "number"
        if name in ("temperature", "top_p")
        else "integer"
        for side in ("", "other_")
        for name in _ORIGIN
    },
    **dict.fromkeys(("blind", "swapped", "answer_seen", "adjudication", "overruled"), "flag"),
    "sampler": "text",
    "seconds": "number",
    **dict.fromkeys(("queue", "note", "created_at"), "text"),
}
"""Columns of an exported rating, in their order, each with what it holds."""

_SIDES = ", ".join(
    f"coalesce({a}.{name}, {v}.{name}) AS {side}{name}"
    for side, v, a in (("", "v", "a"), ("other_", "w", "b"))
    for name in _ORIGIN
)
_ROWS = f"""
SELECT x.card_id, r.rater, r.rater_kind, m.name AS rater_model, r.scope, r.axis,
    d.definition AS axis_definition, r.outcome,
    r.value, r.label,
    r.question_id, r.variant_id, r.answer_id, r.other_variant_id, r.other_answer_id,
    q.text AS question, q.context, q.role, q.language, v.text AS reasoning, a.text AS answer,
    w.text AS other_reasoning, b.text AS other_answer, {_SIDES},
    r.blind, r.swapped, r.answer_seen, x.is_adjudication AS adjudication, x.id AS overruled,
    r.sampler, r.seconds, u.name AS queue, r.note, r.created_at
FROM v_rating r
JOIN rating x ON x.id = r.rating_id
JOIN rater p ON p.id = x.rater_id
LEFT JOIN model_version m ON m.id = p.model_version_id
JOIN question q ON q.id = r.question_id
LEFT JOIN rating_axis d ON d.id = x.axis_id
LEFT JOIN queue_item i ON i.id = x.queue_item_id
LEFT JOIN rating_queue u ON u.id = i.queue_id
LEFT JOIN v_variant v ON v.variant_id = r.variant_id
LEFT JOIN v_answer a ON a.answer_id = r.answer_id
LEFT JOIN v_variant w ON w.variant_id = r.other_variant_id
LEFT JOIN v_answer b ON b.answer_id = r.other_answer_id
WHERE NOT r.is_undone AND (:queue_id IS NULL OR i.queue_id = :queue_id)
ORDER BY r.rating_id
"""
_FLAGS = tuple(name for name, kind in COLUMNS.items() if kind == "flag")


def rating_rows(
    database: Database,
    queue_id: int | None = None,
    *,
    tags: Sequence[str] = (),
    is_noted: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield what holds of all ratings, or of a queue's, oldest first.

    Args:
        database: The store.
        queue_id: Only of this queue.
        tags: Only what was said on cards on which people gave one of these tags.
        is_noted: Only what was said on cards on which people left a note.
    """
    with database.read() as session:
        narrows = bool(tags) or is_noted
        cards = cards_said(session, tags, is_noted=is_noted) if narrows else set()
        settled = set(session.scalars(select(Rating.id).where(overruled())))
        # Named as an integer: PostgreSQL does not guess what None is.
        rows = session.execute(
            text(_ROWS).bindparams(bindparam("queue_id", queue_id, Integer)),
            execution_options={"yield_per": 1000},
        )
        for row in rows.mappings():
            if narrows and row["card_id"].partition("/")[0] not in cards:
                continue
            exported = dict(row)
            exported["overruled"] = exported["overruled"] in settled
            for name in _FLAGS:
                exported[name] = None if exported[name] is None else bool(exported[name])
            exported["axis_definition"] = _as_json(exported["axis_definition"])
            exported["created_at"] = _in_utc(exported["created_at"])
            yield exported


def _as_json(definition: object) -> str | None:
    """Return how an axis was worded as JSON; SQLite gives its text, PostgreSQL what it holds."""
    if isinstance(definition, str):
        definition = json.loads(definition)
    return None if definition is None else json.dumps(definition, ensure_ascii=False)


def _in_utc(time: datetime | str) -> str:
    """Return a time with its zone; SQLite gives text without one, which is UTC."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.isoformat()
