"""A model's own chat template, rendered in a sandbox with marks where people's texts will stand.

Texts from people never enter the template engine: it sees a mark for each, and the rendering is
split at the marks.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from db.errors import UsageError
from serving.formats.definitions import (
    Piece,
    PromptFields,
    parse_template,
    without_empty_context,
)
from serving.formats.sanitise import filled, sanitise

STILL_CLOCK = datetime(2024, 7, 1, tzinfo=UTC)
"""What templates that write today's date are told, so that a prompt keeps its token ids."""


class ChatPrompt(str):
    """A prompt whose template only its server knows, as messages; for reading, in ChatML.

    The texts hold no control tokens (``sanitise``), so that the ChatML tells which is which.
    """

    __slots__ = ("system", "user")
    system: str
    user: str

    def __new__(cls, system: str, user: str) -> "ChatPrompt":
        """Return the prompt; an empty ``system`` is no message."""
        turns = [("system", system)] if system else []
        text = "".join(
            f"<|im_start|>{role}\n{content}<|im_end|>\n"
            for role, content in [*turns, ("user", user)]
        )
        prompt = super().__new__(cls, text)
        prompt.system, prompt.user = system, user
        return prompt

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is sent to ``/v1/chat/completions``."""
        system = [_message("system", self.system)] if self.system else []
        return [*system, _message("user", self.user)]


def chat_prompt(
    turn: str, fields: PromptFields, structure: re.Pattern[str], system_apart: bool
) -> ChatPrompt:
    """Return system text and user's turn; in neither has a person's text any ``structure``.

    Where the server drops system messages, the system text heads the user's turn.
    """
    pieces = parse_template(turn if fields.context else without_empty_context(turn))
    system = sanitise(filled([Piece("system", is_field=True)], fields), structure)
    user = sanitise(filled(pieces, fields), structure)
    texts = ["".join(one.text for one in part) for part in (system, user)]
    if system_apart or not texts[0]:
        return ChatPrompt(*texts)
    return ChatPrompt("", "\n\n".join(texts))


TEMPLATE_ERRORS = (jinja2.TemplateError, TypeError, ValueError, LookupError)
"""What a broken template raises: errors of Jinja and those of the expressions in it."""

_MARK = re.compile("\ue000([a-z_]+)\ue001")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The Jinja source of a chat template and the special tokens that it may name."""

    source: str
    tokens: tuple[tuple[str, str], ...]
    """Name and content, e.g. ``("bos_token", "<s>")``."""

    def pieces(self, user_turn: str, *, with_system: bool) -> tuple[Piece, ...]:
        """Return the conversation up to where the model writes, as text and slots.

        Where the template drops or refuses a system message, the system text heads the user's turn.

        Args:
            user_turn: Template of the user's turn, with placeholders.
            with_system: Whether there is a system text.

        Raises:
            UsageError: The template fails, or leaves out the user's turn.
        """
        turn = _marked(user_turn)
        system = _mark("system")
        if not with_system:
            rendered = _render(self, [_message("user", turn)])
        elif _keeps_system(self):
            rendered = _render(self, [_message("system", system), _message("user", turn)])
        else:
            rendered = _render(self, [_message("user", f"{system}\n\n{turn}")])
        pieces = _split(rendered)
        missing = {piece for piece in parse_template(user_turn) if piece.is_field} - set(pieces)
        if missing:
            names = ", ".join(sorted(piece.text for piece in missing))
            raise UsageError(
                "The model's chat template leaves out the user's {names}; "
                "use a tagged format, or a model whose template keeps the user's turn.",
                names=names,
            )
        return pieces

    def after_answer(self) -> str:
        """Return what the template puts after the model's turn, e.g. ``<|im_end|>`` and a newline.

        Empty where the template cannot show a finished turn.
        """
        answer = _mark("answer")
        try:
            rendered = _render_raw(
                self, [_message("user", "?"), _message("assistant", answer)], generate=False
            )
        except TEMPLATE_ERRORS:
            return ""
        return rendered.rpartition(answer)[2]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _mark(name: str) -> str:
    return f"\ue000{name}\ue001"


def _marked(template: str) -> str:
    return "".join(
        _mark(piece.text) if piece.is_field else piece.text for piece in parse_template(template)
    )


def _split(rendered: str) -> tuple[Piece, ...]:
    parts = _MARK.split(rendered)
    return tuple(Piece(part, is_field=i % 2 == 1) for i, part in enumerate(parts) if part)


@lru_cache(maxsize=64)
def _keeps_system(template: ChatTemplate) -> bool:
    messages = [_message("system", _mark("system")), _message("user", _mark("question"))]
    try:
        return _mark("system") in _render_raw(template, messages, generate=True)
    except TEMPLATE_ERRORS:
        return False


def _render(template: ChatTemplate, messages: Sequence[dict[str, str]]) -> str:
    try:
        return _render_raw(template, messages, generate=True)
    except TEMPLATE_ERRORS as error:
        raise UsageError(
            "The model's chat template fails ({error}); "
            "repair its chat_template.jinja, or use a tagged format.",
            error=error,
        ) from error


def _render_raw(
    template: ChatTemplate, messages: Sequence[dict[str, str]], *, generate: bool
) -> str:
    return _compiled(template.source).render(
        messages=messages, add_generation_prompt=generate, **dict(template.tokens)
    )


class _Generation(Extension):
    """``{% generation %}`` marks the model's words for training masks; here it only passes them."""

    tags = {"generation"}  # noqa: RUF012 - Jinja reads it from the class

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the block's body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=64)
def _compiled(source: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = STILL_CLOCK.strftime
    return environment.from_string(source)


def _to_json(value: object, **options: Any) -> str:
    return json.dumps(value, **({"ensure_ascii": False} | options))


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
