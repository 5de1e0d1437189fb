"""What a row asks, and what was written for it, from whichever fields hold that."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving.formats.reasoning_markup import UNCLOSED, split_reasoning
from serving.importers.fields import RowFields, is_blank, is_turns, plain_name, written
from serving.importers.parsed_row import (
    Cell,
    Cells,
    Refused,
    RowNotes,
    WrittenText,
    kind_of,
    text_of,
)
from serving.importers.turns import (
    ChatTurns,
    TurnKeys,
    inner_text,
    is_conversation,
    read_turns,
    turns_of,
)
from serving.importers.unwrap import Asked, Unwrapper

_NO_INPUT = re.compile(
    r"\s*[<\[(]?\s*(?:no[ _-]?(?:input|context)"
    r"(?: (?:is )?(?:needed|required|necessary|provided|given|available))?"
    r"|n/a|none|null|nil|not applicable|[-\u2013\u2014])\s*[>\])]?\.?\s*",
    re.IGNORECASE,
)
"""What Alpaca files write in place of an empty input."""
_NO_PROMPT = "is not there; give the prompt in a field of its own."


@dataclass(slots=True, kw_only=True)
class RowPrompt:
    """What a row asks."""

    asked: Asked
    cells: Cells
    """``text``, ``context``, ``role``, as far as the row has them."""
    full_text: str
    """The question as the row has it, in a prompt format or not."""
    is_prompt: bool
    """It is a turn of a chat or a prompt, not a question in a field of its own."""
    turns: ChatTurns | None = None
    system: str | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the prompt is the question alone, perhaps with its context after it."""
        return self.is_prompt and self.asked.form is None and not self.cells["context"].value


def two_prompts(column: str, asked: str, expected: str) -> Refused:
    """Return the refusal of a pair that asks two questions."""
    return Refused(column, f"asks {asked[:60]!r} and not {expected[:60]!r}; a pair has one prompt.")


def two_systems(column: str, given: str | None, expected: str | None) -> Refused:
    """Return the refusal of a pair that stands under two system texts."""
    shown = [repr(one[:60]) if one else "none" for one in (given, expected)]
    what = f"has the system text {shown[0]}, and the pair's is {shown[1]}; a pair has one prompt."
    return Refused(column, what)


def must_ask(prompt: RowPrompt, turns: ChatTurns, column: str) -> None:
    """Refuse a side of a pair that is for another question than the pair.

    Raises:
        Refused: Its question or its system text is another one.
    """
    if turns.user and prompt.full_text and turns.user.split() != prompt.full_text.split():
        raise two_prompts(column, turns.user, prompt.full_text)
    known = [prompt.system or "", (prompt.turns and prompt.turns.system) or ""]
    if turns.system and turns.system.split() not in [one.split() for one in known]:
        raise two_systems(column, turns.system, known[-1])


class PromptReader:
    """Reads what the rows of one file ask."""

    def __init__(self, unwrapper: Unwrapper, keys: TurnKeys, notes: RowNotes) -> None:
        self.unwrapper, self.keys, self.notes = unwrapper, keys, notes

    def read(self, row: RowFields) -> RowPrompt:
        """Return what a row asks.

        Raises:
            Refused: It asks nothing, or more than one question.
            LeftOut: It asks for the next questions of a dialogue.
        """
        given, system_name = row.take("system")
        system = text_of(given, system_name) or self._system_of_pair(row)
        if row.peek("messages") is not None:
            found = self._of_turns(row, *row.take("messages"), system)
            self._compare(row, found)
            return found
        if is_turns(row.peek("text")):
            return self._of_turns(row, *row.take("text"), system)
        if row.peek("text") is not None:
            return self._of_text(row, *row.take("text"), system)
        if row.peek("chosen") is not None:  # TRL takes what chosen and rejected have in common
            chosen = row.peek("chosen")
            column = str(row.column("chosen"))
            if not is_conversation(chosen) or self.turns(chosen, column, silent=True).user is None:
                raise Refused("prompt", _NO_PROMPT)
            return self._of_turns(row, chosen, column, system)
        column = row.column("text") or row.column("messages") or "instruction"
        if plain_name(column) == "prompt":
            raise Refused(column, "is empty; fill it in or remove the row.")
        return self._prompt(row, Asked(question=""), None, column, system)

    def _system_of_pair(self, row: RowFields) -> str | None:
        """Return the system text that only the better text of a pair has before its question."""
        chosen = row.peek("chosen")
        if row.peek("text") is None or not is_conversation(chosen):
            return None
        return self.turns(chosen, str(row.column("chosen")), silent=True).system

    def _compare(self, row: RowFields, found: RowPrompt) -> None:
        """Compare what a row asks in turns with the prompt that stands beside them.

        Raises:
            Refused: A pair has two prompts.
        """
        for column in row.filled("text"):
            value = row.values[column]
            if is_conversation(value):
                value = self.turns(value, column, silent=True).user
            if isinstance(value, str) and value.split() == found.full_text.split():
                row.used.add(column)
            elif plain_name(column) == "prompt" and row.filled("chosen"):
                raise two_prompts(column, str(value), found.full_text)

    def turns(self, value: Any, column: str, *, silent: bool = False) -> ChatTurns:
        """Return the turns of a field, which may be one text with the markup of a chat.

        What was not used of them goes to the notes.
        """
        written_out = turns_of(value) if isinstance(value, str) else None
        if written_out is not None:
            turns = read_turns(written_out, column)
        else:
            turns = read_turns(value, column, self.keys)
        if not silent:
            self.notes.counts["greeting"] += turns.n_greetings
            self.notes.unused.update(dict.fromkeys(turns.unused))
        return turns

    def _of_turns(
        self, row: RowFields, value: Any, column: str, system: str | None, *, opened: bool = False
    ) -> RowPrompt:
        turns = self.turns(value, column)
        if turns.user is None:
            raise Refused(column, "holds no turn of the user, which is the question; add it.")
        parts = dict.fromkeys(filter(None, (system, turns.system)))
        asked = self.unwrapper.asked(turns.user, "\n\n".join(parts) or None)
        if opened:
            asked = replace(asked, opened=True)
        return self._prompt(row, asked, asked.question, column, asked.system, turns)

    def _of_text(self, row: RowFields, value: Any, column: str, system: str | None) -> RowPrompt:
        name = plain_name(column)
        if not isinstance(value, str) or name not in ("prompt", "text"):
            return self._prompt(row, Asked(question=""), value, column, system)
        if name == "text":
            if is_conversation(value):
                return self._of_turns(row, value, column, system)
            return self._prompt(row, Asked(question=""), value, column, system)
        asked = self.unwrapper.asked(value.strip(), system)
        if asked.form is None and is_conversation(asked.question):
            return self._of_turns(row, asked.question, column, system, opened=asked.opened)
        return self._prompt(row, asked, asked.question, column, asked.system)

    def _prompt(
        self,
        row: RowFields,
        asked: Asked,
        text: Any,
        column: str,
        system: str | None,
        turns: ChatTurns | None = None,
    ) -> RowPrompt:
        """Return the prompt; a system text that is no role's stands before the context."""
        context = self._context(row, asked, column)
        role = row.take("role")
        by_system = self.unwrapper.role(system)
        if system and by_system is None:
            context = context._replace(value=f"{system}\n\n{context.value or ''}".strip())
        return RowPrompt(
            asked=asked,
            cells={
                "text": Cell(text, column),
                "context": context,
                "role": role._replace(value=role.value or by_system),
            },
            full_text=turns.user or "" if turns else str(text or ""),
            is_prompt=bool(asked.question),
            turns=turns,
            system=system,
        )

    def _context(self, row: RowFields, asked: Asked, column: str) -> Cell:
        if asked.context:
            return Cell(asked.context, column)
        cell = row.take("context")
        if isinstance(cell.value, str) and _NO_INPUT.fullmatch(cell.value):
            self.notes.counts["no_input"] += 1
            return Cell(None, cell.column)
        return cell


RESULTS = ("answer", "final_answer", "solution")
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
            reasoning, column = self.reasoning(row)
            self._results(row, answer)
            return [with_reasoning(answer, reasoning, column)]
        value, column = self._output(row)
        if value is None:
            return []
        if is_turns(value):
            return [self.turn(row, value, column)]
        if isinstance(value, (list, tuple)):
            return self._generations(row, value, column)
        reasoning, _ = self.reasoning(row)
        return [WrittenText(as_text(value, column), column, reasoning)]

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
        return with_reasoning(turns.answer, *self.reasoning(row))

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
        results = (by_name[one] for one in RESULTS if one in by_name)
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
            elif plain_name(column) in RESULTS and not isinstance(value, (list, tuple, dict)):
                others.append(column)
        if others and not row.filled("reference_answer"):
            first = min(others, key=lambda one: RESULTS.index(plain_name(one)))
            row.columns = {**row.columns, "reference_answer": [first]}

    def _generations(self, row: RowFields, values: Sequence[Any], column: str) -> list[WrittenText]:
        """Return the texts of a list; those whose reasoning was cut are left out and counted."""
        given, name = row.take("reasoning")
        reasonings = list(given) if isinstance(given, (list, tuple)) else [given] * len(values)
        if len(reasonings) == 1:
            reasonings *= len(values)
        if len(reasonings) != len(values):
            raise Refused(
                name, f"holds {len(reasonings)} texts for {len(values)} answers; pair them."
            )
        found = [
            WrittenText(as_text(value, column), column, _one_reasoning(one, name))
            for value, one in zip(values, reasonings, strict=True)
            if not is_blank(value)
        ]
        finished = [one for one in found if not split_reasoning(one.text).is_unclosed]
        if found and not finished:
            raise Refused(column, f"{UNCLOSED}; remove the row.")
        self.notes.counts["unfinished"] += len(found) - len(finished)
        return finished


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


def with_reasoning(answer: WrittenText, reasoning: str | None, column: str) -> WrittenText:
    """Return the answer in a turn with the reasoning that the field ``column`` gives for it.

    Raises:
        Refused: The turn has another reasoning.
    """
    if reasoning is None or answer.reasoning == reasoning:
        return answer
    if answer.reasoning is not None and answer.reasoning.split() != reasoning.split():
        raise Refused(column, "differs from the reasoning in the turn; leave one of them.")
    return WrittenText(answer.text, answer.column, reasoning)
