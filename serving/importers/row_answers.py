"""What was written for the question of a row: answers and reasonings, from whichever fields."""

import math
from collections.abc import Sequence
from typing import Any

from serving.formats.reasoning_markup import UNCLOSED, split_reasoning
from serving.importers.cells import is_blank, written
from serving.importers.fields import plain_name
from serving.importers.parsed_row import Refused, WrittenText, kind_of
from serving.importers.row_fields import RowFields, is_turns
from serving.importers.row_prompts import PromptReader, RowPrompt
from serving.importers.turns import inner_text

_RESULTS = ("answer", "final_answer", "solution")
"""Beside another column of answers, these are reference answers, the first that is filled."""


_SETTINGS = frozenset(
    {"on", "off", "true", "false", "yes", "no", "low", "medium", "high", "none", "auto"}
)
"""What a field called ``reasoning`` holds where it tells how a model was run."""


class AnswerReader:
    """Reads what the rows of one file hold as answers."""

    def __init__(self, prompts: PromptReader) -> None:
        self.prompts, self.notes = prompts, prompts.notes

    def completions(self, row: RowFields, prompt: RowPrompt) -> list[WrittenText]:
        """Return the answers of a row, each with the reasoning beside it; none: an empty list.

        Raises:
            Refused: One of them is no text, or all of them were cut.
        """
        if prompt.turns is not None and prompt.turns.answer is not None:
            answer = prompt.turns.answer
            beside, column = self.reasoning(row)
            self._results(row, answer)
            return [beside_turn(answer, beside, column)]
        value, column = self._output(row)
        if value is None:
            return []
        if is_turns(value):
            return [self.turn(row, value, column)]
        if isinstance(value, (list, tuple)):
            return self._generations(row, value, column)
        beside, _ = self.reasoning(row)
        return [WrittenText(as_text(value, column), column, beside)]

    def reasoning(self, row: RowFields, field: str = "reasoning") -> tuple[str | None, str]:
        """Return the reasoning that stands in a field of its own, and what the file calls it.

        What only says whether or how long a model reasons (``on``, ``high``) is none: it is not
        used.
        """
        filled = [one for one in row.filled(field) if not _is_setting(row.values[one])]
        if not filled:
            return None, row.column(field) or field
        column = filled[0]
        row.used.add(column)
        return _one_reasoning(row.values[column], column), column

    def turn(self, row: RowFields, value: Any, column: str) -> WrittenText:
        """Return the one answer in turns of a chat, with the reasoning beside it."""
        turns = self.prompts.turns(value, column)
        if turns.answer is None:
            raise Refused(column, "holds 0 answers; one is needed.")
        return beside_turn(turns.answer, *self.reasoning(row))

    def _output(self, row: RowFields) -> tuple[Any, str]:
        """Return the answer to learn; a result that stands beside it becomes the reference."""
        filled = row.filled("output")
        if not filled:
            value, column = row.take("output")
            if plain_name(column) == "completion":
                raise Refused(column, "is empty; fill it in or remove the row.")
            return value, column
        by_name = {plain_name(one): one for one in filled}
        column = filled[0]
        if "solution" in by_name and column == by_name.get("answer"):
            column = by_name["solution"]  # a worked answer, and its result beside it
        if len(filled) > 1:  # what holds a reasoning was written by a model
            column = next((one for one in filled if _holds_reasoning(row.values[one])), column)
        results = (by_name[one] for one in _RESULTS if one in by_name)
        others = [one for one in results if one != column]
        if others and not row.filled("reference_answer"):
            row.columns = {**row.columns, "reference_answer": others[:1]}
        row.used.add(column)
        return row.values[column], column

    def _results(self, row: RowFields, answer: WrittenText) -> None:
        """Take the result that stands beside an answer in a turn for the reference answer."""
        others = []
        for column in row.filled("output"):
            value = row.values[column]
            if isinstance(value, str) and value.split() == answer.text.split():
                row.used.add(column)
            elif plain_name(column) in _RESULTS and not isinstance(value, (list, tuple, dict)):
                others.append(column)
        if others and not row.filled("reference_answer"):
            first = min(others, key=lambda one: _RESULTS.index(plain_name(one)))
            row.columns = {**row.columns, "reference_answer": [first]}

    def _generations(self, row: RowFields, values: Sequence[Any], column: str) -> list[WrittenText]:
        """Return the texts of a list; those whose reasoning was cut are left out and counted."""
        given, name = row.take("reasoning")
        beside = list(given) if isinstance(given, (list, tuple)) else [given] * len(values)
        if len(beside) == 1:
            beside *= len(values)
        if len(beside) != len(values):
            raise Refused(name, f"holds {len(beside)} texts for {len(values)} answers; pair them.")
        found = [
            WrittenText(as_text(value, column), column, _one_reasoning(one, name))
            for value, one in zip(values, beside, strict=True)
            if not is_blank(value)
        ]
        whole = [one for one in found if not split_reasoning(one.text).is_unclosed]
        if found and not whole:
            raise Refused(column, f"{UNCLOSED}; remove the row.")
        self.notes.counts["unfinished"] += len(found) - len(whole)
        return whole


def _one_reasoning(value: Any, column: str) -> str | None:
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) or (isinstance(value, (list, tuple)) and is_turns(value)):
        value = inner_text(value) or value
    return None if is_blank(value) else as_text(value, column)


def _is_setting(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, str) and value.strip().casefold() in _SETTINGS
    )


def _holds_reasoning(value: Any) -> bool:
    return isinstance(value, str) and split_reasoning(value).reasoning is not None


def as_text(value: Any, column: str) -> str:
    """Return a value as a text.

    Raises:
        Refused: It is none.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (dict, list, tuple, set)):
        raise Refused(column, f"holds {kind_of(value)}; give a text.")
    if isinstance(value, float) and math.isinf(value):
        raise Refused(column, "holds a number without end; write it as a text in quotes.")
    return written(value)


def beside_turn(answer: WrittenText, reasoning: str | None, column: str) -> WrittenText:
    """Return the answer in a turn with the reasoning that the field ``column`` gives for it.

    Raises:
        Refused: The turn has another reasoning.
    """
    if reasoning is None or answer.reasoning == reasoning:
        return answer
    if answer.reasoning is not None and answer.reasoning.split() != reasoning.split():
        raise Refused(column, "differs from the reasoning in the turn; leave one of them.")
    return WrittenText(answer.text, answer.column, reasoning)
