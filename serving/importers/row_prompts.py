"""What a row asks: the question with its context and role, from whichever fields hold them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from serving.importers.fields import plain_name
from serving.importers.parsed_row import Refused, RowNotes, text_of
from serving.importers.row_fields import RowFields, is_turns
from serving.importers.transcripts import is_conversation, turns_of
from serving.importers.turns import TurnKeys, Turns, read_turns
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
    texts: Mapping[str, Any]
    """``text``, ``context``, ``role``, as far as the row has them."""
    names: Mapping[str, str]
    """The same fields → what the file calls them."""
    full_text: str
    """The question as the row has it, in a prompt format or not."""
    is_prompt: bool
    """It is a turn of a chat or a prompt, not a question in a field of its own."""
    turns: Turns | None = None
    system: str | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the prompt is the question alone, perhaps with its context after it."""
        return self.is_prompt and self.asked.form is None and not self.texts.get("context")


def two_prompts(column: str, asked: str, expected: str) -> Refused:
    """Return the refusal of a pair that asks two questions."""
    return Refused(column, f"asks {asked[:60]!r} and not {expected[:60]!r}; a pair has one prompt.")


def two_systems(column: str, given: str | None, expected: str | None) -> Refused:
    """Return the refusal of a pair that stands under two system texts."""
    shown = [repr(one[:60]) if one else "none" for one in (given, expected)]
    what = f"has the system text {shown[0]}, and the pair's is {shown[1]}; a pair has one prompt."
    return Refused(column, what)


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

    def turns(self, value: Any, column: str, *, silent: bool = False) -> Turns:
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
        turns: Turns | None = None,
    ) -> RowPrompt:
        """Return the prompt; a system text that is no role's stands before the context."""
        context, context_name = self._context(row, asked, column)
        role, role_name = row.take("role")
        by_system = self.unwrapper.role(system)
        if system and by_system is None:
            context = f"{system}\n\n{context or ''}".strip()
        is_prompt = bool(asked.question)
        return RowPrompt(
            asked=asked,
            texts={"text": text, "context": context, "role": role or by_system},
            names={"text": column, "context": context_name, "role": role_name},
            full_text=turns.user or "" if turns else str(text or ""),
            is_prompt=is_prompt,
            turns=turns,
            system=system,
        )

    def _context(self, row: RowFields, asked: Asked, column: str) -> tuple[Any, str]:
        if asked.context:
            return asked.context, column
        value, name = row.take("context")
        if isinstance(value, str) and _NO_INPUT.fullmatch(value):
            self.notes.counts["no_input"] += 1
            return None, name
        return value, name
