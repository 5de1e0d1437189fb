"""What one row of a file is, whatever its shape: a question with what was written for it.

Alpaca, ShareGPT, ChatML messages, harmony, prompt and completion, pairs, labels, OpenAI's batch
requests, lists of generations, questions with choices, and our own table are found out row by row.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from serving.formats.reasoning_markup import plain_reasoning, reasoning_tag
from serving.importers.fields import (
    FieldMap,
    RowFields,
    is_blank,
    is_turns,
    kept_fields,
    label_of,
    plain_name,
    written,
)
from serving.importers.parsed_row import (
    ABOUT,
    NEXT_QUESTIONS,
    Cell,
    Cells,
    LeftOut,
    ParsedRow,
    Refused,
    RowNotes,
    Scope,
    WrittenText,
    text_of,
)
from serving.importers.row_texts import (
    RESULTS,
    AnswerReader,
    PromptReader,
    RowPrompt,
    must_ask,
    two_systems,
    with_reasoning,
)
from serving.importers.turns import USUAL, ChatTurns, TurnKeys, is_conversation, without_end
from serving.importers.unwrap import Unwrapper, WrittenParts

_LABELS = ("label", "key", "id")
_TEXTS = ("text", "value", "content")


def with_choices(row: RowFields, fields: FieldMap) -> RowFields:
    """Return a row with its choices in its context; a row without choices as it is.

    Raises:
        Refused: The key names none of the choices.
    """
    filled = row.filled("choices")
    choices = _choices_of(row.values[filled[0]]) if filled and row.filled("text") else {}
    if len(choices) < 2:
        return row
    key = _key_of(row, choices)
    left_out = {filled[0], *([] if key is None else [key])}
    values = {name: value for name, value in row.values.items() if name not in left_out}
    listed = "\n".join(f"{label}. {text}" for label, text in choices.items())
    context = row.column("context") or "context"
    given = values.get(context)
    values[context] = listed if is_blank(given) else f"{given}\n\n{listed}"
    label = None if key is None else _label_of(row.values[key], choices)
    if label is not None and not row.filled("reference_answer"):
        values[row.column("reference_answer") or "reference_answer"] = f"{label}. {choices[label]}"
    return RowFields(values, fields.columns(tuple(values)))


def _choices_of(value: Any) -> dict[str, str]:
    """Return label → text; empty where a value lists no choices."""
    if isinstance(value, Mapping):
        texts, labels = value.get("text"), value.get("label")
        if isinstance(texts, Sequence) and isinstance(labels, Sequence):
            return dict(zip(map(written, labels), map(written, texts), strict=False))
        pairs = [(str(label), text) for label, text in value.items() if isinstance(text, str)]
        return dict(pairs) if len(pairs) == len(value) else {}
    if not isinstance(value, (list, tuple)) or len(value) > len(ascii_uppercase):
        return {}
    if all(isinstance(one, Mapping) for one in value):
        return {_first(one, _LABELS): _first(one, _TEXTS) for one in value}
    if any(isinstance(one, (Mapping, list, tuple)) for one in value):
        return {}
    return dict(zip(ascii_uppercase, map(written, value), strict=False))


def _first(one: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((written(one[name]) for name in names if not is_blank(one.get(name))), "")


def _key_of(row: RowFields, choices: Mapping[str, str]) -> str | None:
    """Return the column that says which choice is right.

    Raises:
        Refused: It names none of them.
    """
    for column in row.filled("key"):
        if _label_of(row.values[column], choices) is None:
            shown = written(row.values[column])[:40]
            raise Refused(column, f"is {shown!r}, which is none of the choices; correct it.")
        return column
    for column in row.filled("output"):
        if plain_name(column) in RESULTS and _label_of(row.values[column], choices) is not None:
            return column
    return None


def _label_of(value: Any, choices: Mapping[str, str]) -> str | None:
    """Return the label that a letter, or a number from 0, stands for."""
    labels = list(choices)
    word = written(value).strip().rstrip(".)")
    if word in choices:
        return word
    if word.upper() in choices:
        return word.upper()
    return labels[int(word)] if word.isdecimal() and int(word) < len(labels) else None


_SCOPES = ("reasoning", "answer", "whole", "questions")
_PAIR_FIELDS = ("chosen", "rejected", "rejected_reasoning", "rejected_answer")
_PAIRS = frozenset(_PAIR_FIELDS)
_BATCH_OUTPUT = "is the output of a batch; import the file with the requests instead."
_RESULT = re.compile(r"\n#### ?([-+$]?\d[\d,]*(?:\.\d+)?%?)\s*\Z")
"""How GSM8K ends a worked answer: with its result."""
_ASKING = frozenset({"text", "messages", "chosen", "body"})


class RowParser:
    """Finds out what the rows of one file are."""

    def __init__(
        self,
        unwrapper: Unwrapper,
        *,
        fields: FieldMap,
        keys: TurnKeys = USUAL,
        classes: Mapping[str, Sequence[str]] | None = None,
        takes_judgements: bool = True,
    ) -> None:
        """Without ``takes_judgements``, pairs are refused and labels are not used."""
        self.unwrapper, self.fields = unwrapper, fields
        self.classes = {} if classes is None else classes
        self.takes_judgements = takes_judgements
        self.notes = RowNotes()
        self.may_ask = False
        """A row had a column that can be the question."""
        self._prompts = PromptReader(unwrapper, keys, self.notes)
        self._answers = AnswerReader(self._prompts)

    def parse(self, values: Mapping[str, Any]) -> list[ParsedRow]:
        """Return what a row holds: one question, several times where it lists several answers.

        Raises:
            Refused: It is nothing that can be taken.
            LeftOut: It is of a kind that is not imported.
        """
        row = RowFields(values, self.fields.columns(tuple(values)))
        self.may_ask = self.may_ask or not _ASKING.isdisjoint(row.columns)
        if "custom_id" in values and isinstance(values.get("response"), dict):
            self.may_ask = True
            raise Refused(None, _BATCH_OUTPUT)
        if row.peek("body") is not None:
            row = self._request(row)
        elif is_turns(_turns_in(row.peek("context"))):
            row = self._asked_by_input(row)
        elif "choices" in row.columns:
            row = with_choices(row, self.fields)
        found = self._rows(row)
        if len(row.used) < len(row.values):
            unused = list(row.unused())
            self.notes.unused.update(dict.fromkeys(unused))
            if self.notes.are_kept and unused:
                kept = kept_fields({name: row.values[name] for name in unused})
                found = [replace(one, fields=kept) for one in found]
        return found

    def _request(self, row: RowFields) -> RowFields:
        """Return a request of a batch as a row."""
        body, column = row.take("body")
        if not isinstance(body, dict):
            raise Refused(column, "holds no object; give the request.")
        skipped = (column, "method", "url")
        values = {name: one for name, one in row.values.items() if name not in skipped}
        if "messages" in body:
            values["messages"] = body["messages"]
        else:
            values["prompt"] = body.get("prompt", body.get("input"))
            values["system"] = body.get("instructions")
        return RowFields(values, self.fields.columns(tuple(values)))

    def _asked_by_input(self, row: RowFields) -> RowFields:
        """Return a row whose input is the turns that ask, as a row with turns."""
        value, column = row.take("context")
        self.may_ask = True
        if row.filled("text") or row.filled("messages"):
            raise Refused(column, "holds turns beside the question; leave one of them.")
        values = {name: one for name, one in row.values.items() if name != column}
        values["messages"] = _turns_in(value)
        return RowFields(values, self.fields.columns(tuple(values)))

    def _rows(self, row: RowFields) -> list[ParsedRow]:
        judged = _judged(row)
        if judged == "questions":
            raise LeftOut(NEXT_QUESTIONS)
        _refuse_unfit(row)
        pair = _pair_of(row)
        if pair is not None and not self.takes_judgements:
            raise Refused(
                row.column(pair),
                "holds a text of a pair, better or worse; `q2q dataset import` takes such rows.",
            )
        if pair is None and self.takes_judgements:
            _refuse_empty_pair(row)
        prompt = self._prompts.read(row)
        if pair in ("chosen", "rejected"):
            return [self._pair(row, prompt)]
        scope: Scope | None = judged  # type: ignore[assignment]
        if pair is not None:
            return [self._own_pair(row, prompt, scope)]
        label = self._label(row)
        found = self._completed(row, prompt)
        if label is None and scope is None:
            return found
        return [replace(one, label=label, scope=scope or one.scope) for one in found]

    def _label(self, row: RowFields) -> bool | None:
        if (value := row.peek("label")) is None:
            return None
        if not self.takes_judgements:
            self.notes.counts["label"] += 1
            return None
        _, column = row.take("label")
        return label_of(value, column, self.classes.get(column, ()))

    def _completed(self, row: RowFields, prompt: RowPrompt) -> list[ParsedRow]:
        """Return a row for each text that it holds as an answer, or one without."""
        completions = self._answers.completions(row, prompt)
        cells = _about(row, prompt)
        if completions:
            return [self._answered(prompt, one, cells) for one in completions]
        given, column = self._answers.reasoning(row)
        reasoning = plain_reasoning(given or "")
        return [
            ParsedRow(
                cells={**cells, "reasoning": Cell(reasoning, column)},
                scope="answer" if reasoning is None else "reasoning",
                is_raw=prompt.is_raw,
            )
        ]

    def _answered(self, prompt: RowPrompt, completion: WrittenText, cells: Cells) -> ParsedRow:
        if (text := without_end(completion.text)) is not completion.text:
            completion = replace(completion, text=text)
        found = self.unwrapper.written(prompt.asked, completion)
        self._note(found)
        answer = found.answer or ""
        result = _RESULT.search(answer) if "####" in answer else None
        if result is not None and not cells.get("reference_answer", (None,))[0]:
            cells = {**cells, "reference_answer": Cell(result[1], completion.column)}
        cells = _with_texts(cells, found, completion.column)
        return ParsedRow(cells=cells, scope=found.scope, is_raw=prompt.is_raw)

    def _note(self, found: WrittenParts) -> None:
        self.notes.counts["split"] += found.is_split
        self.notes.counts["mention"] += reasoning_tag(found.answer or "") is not None

    def _pair(self, row: RowFields, prompt: RowPrompt) -> ParsedRow:
        """Return a pair; a reasoning in a field beside it was given to both."""
        (better, asked), (worse, other) = (
            self._side(row, prompt, name) for name in ("chosen", "rejected")
        )
        if asked and other and asked.user and other.user and asked.system != other.system:
            raise two_systems(worse.column, other.system, asked.system)
        found, rejected = (self._written(row, prompt, one) for one in (better, worse))
        _must_match(found, rejected, worse.column)
        cells = _about(row, prompt)
        return ParsedRow(
            cells=_with_texts(cells, found, better.column),
            rejected=_with_texts(cells, rejected, worse.column),
            scope=found.scope,
            is_raw=prompt.is_raw,
        )

    def _side(
        self, row: RowFields, prompt: RowPrompt, name: str
    ) -> tuple[WrittenText, ChatTurns | None]:
        """Return the better or the worse text of a pair, and the turns that it stands in.

        Raises:
            Refused: It is not there, or is for another question.
        """
        value, column = row.take(name)
        if value is None:
            raise Refused(column, "is empty; fill it in or remove the row.")
        own_reasoning, reasoning_column = self._answers.reasoning(row, f"{name}_reasoning")
        if isinstance(value, str) and not is_conversation(value):
            return WrittenText(without_end(value.strip()), column, own_reasoning), None
        turns = self._prompts.turns(value, column)
        must_ask(prompt, turns, column)
        if turns.answer is None:
            raise Refused(column, "holds 0 answers; one is needed.")
        return with_reasoning(turns.answer, own_reasoning, reasoning_column), turns

    def _written(self, row: RowFields, prompt: RowPrompt, side: WrittenText) -> WrittenParts:
        given, column = self._answers.reasoning(row)
        if given is None and prompt.asked.form is None:
            found = self.unwrapper.answered(side, opened=prompt.asked.opened)
        else:
            inside = prompt.asked.reasoning
            if given and inside and given.split() != inside.split():
                raise Refused(column, "differs from the reasoning in the prompt; leave one.")
            asked = replace(prompt.asked, reasoning=plain_reasoning(given or "") or inside)
            found = self.unwrapper.written(asked, side)
        self._note(found)
        return found

    def _own_pair(self, row: RowFields, prompt: RowPrompt, judged: Scope | None) -> ParsedRow:
        """Return a pair of our own table, whose worse texts have fields of their own."""
        (better,) = self._completed(row, prompt)
        worse = {}
        for name, own in (("reasoning", "rejected_reasoning"), ("output", "rejected_answer")):
            value, column = row.take(own)
            worse[name] = Cell(text_of(value, column), column)
        reasoning = better.cells["reasoning"].value
        scope: Scope = judged or ("answer" if reasoning is None else "whole")
        if judged is None and worse["output"].value is None:
            scope = "reasoning"
        if scope == "answer":
            worse["reasoning"] = worse["reasoning"]._replace(value=reasoning)
        return replace(better, rejected={**better.cells, **worse}, scope=scope)


def _turns_in(value: Any) -> Any:
    """Return the turns of a request, which stand in it or are it."""
    return value.get("messages") if isinstance(value, Mapping) else value


def _pair_of(row: RowFields) -> str | None:
    """Return the first field of a pair that a row fills."""
    if _PAIRS.isdisjoint(row.columns):
        return None
    return next((name for name in _PAIR_FIELDS if row.peek(name) is not None), None)


def _refuse_empty_pair(row: RowFields) -> None:
    """Refuse a row that has fields for a pair and neither a pair nor an answer in them."""
    column = row.column("chosen") or row.column("rejected")
    if column is not None and not row.filled("output") and not row.filled("messages"):
        raise Refused(column, "is empty; fill it in or remove the row.")


def _judged(row: RowFields) -> str | None:
    """Return what a row of our own table judges; another ``target`` is a reference answer."""
    value = row.peek("judged")
    if not isinstance(value, str) or value.strip() not in _SCOPES:
        return None
    _, column = row.take("judged")
    others = [one for one in row.columns.get("reference_answer", ()) if one != column]
    row.columns = {**row.columns, "reference_answer": others}
    return value.strip()


def _refuse_unfit(row: RowFields) -> None:
    if row.peek("history") is not None:
        raise Refused(
            row.column("history"), "holds earlier turns; a row is one question with one answer."
        )


def _about(row: RowFields, prompt: RowPrompt) -> Cells:
    """Return all that a row says of its question."""
    return {**prompt.cells, **{name: row.take(name) for name in ABOUT if name in row.columns}}


def _with_texts(cells: Cells, found: WrittenParts, column: str) -> Cells:
    return {
        **cells,
        "reasoning": Cell(found.reasoning, column),
        "output": Cell(found.answer, column),
    }


def _must_match(better: WrittenParts, worse: WrittenParts, column: str) -> None:
    if better.scope != worse.scope:
        raise Refused(column, f"is of another kind ({worse.scope}) than chosen ({better.scope}).")
