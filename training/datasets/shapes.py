"""One row as text in a prompt format, and in the shapes that other programs read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from db.datasets import DatasetRowInfo
from db.errors import UsageError
from serving.formats.definitions import (
    Completion,
    FormatDefinition,
    PromptFields,
    parse_template,
    without_empty_context,
)
from serving.formats.library import form_for
from serving.formats.render import task_templates
from serving.formats.sanitise import (
    EXPORTED_CONTROL,
    Segment,
    sanitise,
    sendable,
    structure_pattern,
)
from training.datasets.rows import RowTexts, Target
from training.methods import RowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAsText:
    """One row: what the model reads, what it is to write, and what it is rather not to."""

    system: str
    """Of the system message; empty where the prompt holds the system text itself."""
    prompt: str
    """The whole prompt of a tagged format, without BOS; the user's turn of a chat format."""
    completion: str
    """Without the stop token, which a trainer adds."""
    rejected: str | None


def row_as_text(texts: RowTexts, target: Target, form: FormatDefinition) -> RowAsText:
    """Return one row in ``form``; texts of people hold no tag of it afterwards.

    Tags of reasoning such as ``<think>`` stay: other programs read them as we do.

    Raises:
        PromptError: A text cannot be kept apart from the tags.
        UsageError: The format lacks the task.
    """
    fields, task = texts.fields(target), texts.task(target)
    form = form_for(form, task)
    templates = task_templates(form, task)

    def written(completion: Completion) -> str:
        return _filled(templates.completion, completion.fields(), form)

    is_pair = texts.rejected_reasoning is not None or texts.rejected_answer is not None
    is_pair = is_pair or texts.rejected_questions is not None
    is_chat = form.kind == "chat"
    return RowAsText(
        system=texts.system if is_chat else "",
        prompt=_prompt(form, templates.prompt, fields),
        completion=written(texts.completion(target)),
        rejected=written(texts.completion(target, rejected=True)) if is_pair else None,
    )


def must_be_chat(form: FormatDefinition, what: str) -> None:
    """Refuse a format that has no turns.

    Raises:
        UsageError: ``form`` is no chat format.
    """
    if form.kind != "chat":
        raise UsageError(
            "{what} holds turns of a chat, and {reference} has none; "
            "give a chat format, such as --prompt-format chat.",
            what=what,
            reference=form.reference,
        )


def _prompt(form: FormatDefinition, template: str, fields: PromptFields) -> str:
    """Return the whole prompt of a tagged format, or the user's turn of a chat format."""
    is_short = form.kind == "chat" and not fields.context
    return _filled(without_empty_context(template) if is_short else template, fields, form)


def _filled(template: str, fields: PromptFields, form: FormatDefinition) -> str:
    segments = [
        Segment(sendable(fields.value(piece.text)), trusted=False)
        if piece.is_field
        else Segment(piece.text, trusted=True)
        for piece in parse_template(template)
    ]
    safe = sanitise(segments, structure_pattern(form.tags, EXPORTED_CONTROL))
    return "".join(segment.text for segment in safe)


Row = dict[str, Any]
Shape = Callable[[DatasetRowInfo, RowKind, FormatDefinition], Row]
"""From a row, its kind and a prompt format."""


def alpaca(row: DatasetRowInfo, kind: RowKind, form: FormatDefinition) -> Row:
    """Return ``instruction, input, output, reasoning, flag``, the texts without any tag.

    Pairs hold ``chosen`` and ``rejected`` instead of ``output``, as they are written in ``form``;
    texts with OK or not OK hold ``label``.
    """
    texts = RowTexts.from_payload(row.payload)
    asked = {"instruction": texts.question, "input": texts.context}
    if row.target == "questions":
        asked = {"instruction": texts.move or "", "input": f"{texts.question}\n\n{texts.answer}"}
    if kind == "pairs":
        row_text = _as_text(row, form)
        given = texts.reasoning if row.target == "answer" else None
        judged: Row = {"chosen": row_text.completion, "rejected": row_text.rejected}
        return {**asked, **judged, "reasoning": given or "", "flag": texts.role}
    answered = {
        "output": _lines(texts.questions) if texts.questions else texts.answer or "",
        "reasoning": texts.reasoning or "",
        "flag": texts.role,
    }
    return {**asked, **answered, **({"label": row.label} if kind == "labelled" else {})}


def sharegpt(row: DatasetRowInfo, kind: RowKind, form: FormatDefinition) -> Row:
    """Return ``system`` and ``conversations``, with ``chosen`` and ``rejected`` or ``kto_tag``."""
    row_text = _as_text(row, form)
    human = {"from": "human", "value": row_text.prompt}
    gpt = {"from": "gpt", "value": row_text.completion}
    if kind == "pairs":
        worse = {"from": "gpt", "value": row_text.rejected}
        return {
            "system": row_text.system,
            "conversations": [human],
            "chosen": gpt,
            "rejected": worse,
        }
    extra = {"kto_tag": row.label} if kind == "labelled" else {}
    return {"system": row_text.system, "conversations": [human, gpt], **extra}


def messages(row: DatasetRowInfo, kind: RowKind, form: FormatDefinition) -> Row:
    """Return ChatML ``messages``; of pairs and judged texts, TRL's conversational columns."""
    if kind == "demonstrations":
        row_text = _as_text(row, form)
        return {"messages": [*_prompt_turns(row_text), _answer_turn(row_text.completion)]}
    return trl(row, kind, form)


def trl(row: DatasetRowInfo, kind: RowKind, form: FormatDefinition) -> Row:
    """Return TRL's columns: ``prompt`` with ``completion``, ``chosen, rejected``, or ``label``.

    Texts in a tagged format, lists of messages in a chat format.
    """
    row_text = _as_text(row, form)
    is_chat = form.kind == "chat"
    prompt: Any = _prompt_turns(row_text) if is_chat else row_text.prompt

    def written(text: str | None) -> Any:
        return [_answer_turn(text)] if is_chat else text

    if kind == "pairs":
        return {
            "prompt": prompt,
            "chosen": written(row_text.completion),
            "rejected": written(row_text.rejected),
        }
    extra = {"label": row.label} if kind == "labelled" else {}
    return {"prompt": prompt, "completion": written(row_text.completion), **extra}


def table(row: DatasetRowInfo, kind: RowKind, form: FormatDefinition) -> Row:
    """Return all that is known of a row, one column each."""
    texts = RowTexts.from_payload(row.payload)
    return {
        **{name: getattr(row, name) for name in ("position", "split", "target", "label")},
        **{name: getattr(texts, name) for name in RowTexts.__slots__},
        **{name: getattr(row, name) for name in TABLE_IDS},
    }


TABLE_IDS = (
    "question_id",
    "variant_id",
    "answer_id",
    "rejected_variant_id",
    "rejected_answer_id",
    "n_ratings",
)
SHAPES: Mapping[str, Shape] = {
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "messages": messages,
    "trl": trl,
    "parquet": table,
}
"""Name of a format that is one file → the shape of its rows."""


def _lines(questions: str) -> str:
    return "\n".join(json.loads(questions))


def _as_text(row: DatasetRowInfo, form: FormatDefinition) -> RowAsText:
    return row_as_text(RowTexts.from_payload(row.payload), cast(Target, row.target), form)


def _prompt_turns(row_text: RowAsText) -> list[dict[str, str]]:
    system = [{"role": "system", "content": row_text.system}] if row_text.system else []
    return [*system, {"role": "user", "content": row_text.prompt}]


def _answer_turn(text: str | None) -> dict[str, str | None]:
    return {"role": "assistant", "content": text}
