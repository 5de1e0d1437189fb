"""What a row asks: the question with its context and role, from whichever fields hold them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.importers.parsed_row import Refused, RowNotes, text_of
from serving.importers.row_fields import RowFields, is_turns
from serving.importers.turns import TurnKeys, Turns, read_turns
from serving.importers.unwrap import Asked, Unwrapper

_NO_INPUT = re.compile(
    r"\s*[<\[(]?\s*(?:no[ _-]?(?:input|context)|n/a|none|null|nil|not applicable)\s*[>\])]?\.?\s*",
    re.IGNORECASE,
)
"""What Alpaca files write in place of an empty input."""
_NO_PROMPT = "is not there; give the prompt in a field of its own."


@dataclass(frozen=True, slots=True, kw_only=True)
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

    @property
    def is_raw(self) -> bool:
        """Whether the prompt is the question alone, perhaps with its context after it."""
        return self.is_prompt and self.asked.form is None and not self.texts.get("context")


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
        system = text_of(given, system_name)
        if row.peek("messages") is not None:
            return self._of_turns(row, *row.take("messages"), system)
        if is_turns(row.peek("text")):
            return self._of_turns(row, *row.take("text"), system)
        if row.peek("text") is not None:
            return self._of_text(row, *row.take("text"), system)
        if row.peek("chosen") is not None:  # TRL takes what chosen and rejected have in common
            chosen = row.peek("chosen")
            if not is_turns(chosen) or self.turns(chosen, "chosen", silent=True).user is None:
                raise Refused("prompt", _NO_PROMPT)
            return self._of_turns(row, chosen, str(row.column("chosen")), system)
        column = row.column("text") or row.column("messages") or "instruction"
        if column.strip().casefold() == "prompt":
            raise Refused(column, "is empty; fill it in or remove the row.")
        return self._prompt(row, Asked(question=""), None, column, system)

    def turns(self, value: Any, column: str, *, silent: bool = False) -> Turns:
        """Return the turns of a field; what was not used of them goes to the notes."""
        turns = read_turns(value, column, self.keys)
        if not silent:
            self.notes.counts["greeting"] += turns.n_greetings
            self.notes.unused.update(dict.fromkeys(turns.unused))
        return turns

    def _of_turns(self, row: RowFields, value: Any, column: str, system: str | None) -> RowPrompt:
        turns = self.turns(value, column)
        if turns.user is None:
            raise Refused(column, "holds no turn of the user, which is the question; add it.")
        parts = dict.fromkeys(filter(None, (system, turns.system)))
        asked = self.unwrapper.asked(turns.user, "\n\n".join(parts) or None)
        return self._prompt(row, asked, asked.question, column, asked.system, turns)

    def _of_text(self, row: RowFields, value: Any, column: str, system: str | None) -> RowPrompt:
        if isinstance(value, str) and column.strip().casefold() == "prompt":
            asked = self.unwrapper.asked(value.strip(), system)
            return self._prompt(row, asked, asked.question, column, asked.system)
        return self._prompt(row, Asked(question=""), value, column, system)

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
        )

    def _context(self, row: RowFields, asked: Asked, column: str) -> tuple[Any, str]:
        if asked.context:
            return asked.context, column
        value, name = row.take("context")
        if isinstance(value, str) and _NO_INPUT.fullmatch(value):
            self.notes.counts["no_input"] += 1
            return None, name
        return value, name
