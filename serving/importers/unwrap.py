"""Prompts and completions as our formats write them, taken apart into question and texts again."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from serving.formats.definitions import (
    FormatDefinition,
    Piece,
    RoleDefinition,
    Task,
    parse_template,
    without_empty_context,
)
from serving.formats.library import Registry, load_definitions
from serving.formats.reasoning_markup import (
    NO_ANSWER,
    SECOND_REASONING,
    split_reasoning,
    without_opening,
)
from serving.importers.parsed_row import NEXT_QUESTIONS, LeftOut, Refused, Scope, WrittenText


def match_template(template: str, text: str) -> dict[str, str] | None:
    """Return what fills the slots of ``template`` in ``text``; None where it is not written in it.

    Outer white space of the template does not matter. Each slot is as short as it can be. The time
    grows with the length of the text alone, unless the template names a field twice.
    """
    pieces = _pieces(template.strip())
    names = [piece.text for piece in pieces if piece.is_field]
    if len(set(names)) < len(names):
        match = _regex(pieces).fullmatch(text)
        return match and match.groupdict()
    return _walked(pieces, text)


def _walked(pieces: Sequence[Piece], text: str) -> dict[str, str] | None:
    """Look for the literals from left to right, each once: if any way fits, the first one does."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    place = 0
    for number, piece in enumerate(pieces, start=1):
        if piece.is_field:
            waiting.append(piece.text)
            continue
        if not waiting:
            start = place if text.startswith(piece.text, place) else -1
        elif number == len(pieces):
            start = len(text) - len(piece.text) if text.endswith(piece.text) else -1
        else:
            start = text.find(piece.text, place)
        if start < place:
            return None
        found |= _filled(waiting, text[place:start])
        place, waiting = start + len(piece.text), []
    if not waiting and place < len(text):
        return None
    return found | _filled(waiting, text[place:])


def _filled(names: Sequence[str], text: str) -> dict[str, str]:
    """Give ``text`` to the last one of slots that nothing stands between."""
    return {**dict.fromkeys(names, ""), names[-1]: text} if names else {}


@lru_cache(maxsize=512)
def _pieces(template: str) -> tuple[Piece, ...]:
    """Return the slots of a template and the literals between them, each literal whole."""
    found: list[Piece] = []
    for piece in parse_template(template):
        if found and not (piece.is_field or found[-1].is_field):
            found[-1] = Piece(found[-1].text + piece.text, is_field=False)
        else:
            found.append(piece)
    return tuple(found)


@lru_cache(maxsize=512)
def _regex(pieces: tuple[Piece, ...]) -> re.Pattern[str]:
    seen: set[str] = set()
    parts = []
    for piece in pieces:
        if not piece.is_field:
            parts.append(re.escape(piece.text))
        elif piece.text in seen:
            parts.append(f"(?P={piece.text})")
        else:
            seen.add(piece.text)
            parts.append(f"(?P<{piece.text}>.*?)")
    return re.compile("".join(parts), re.DOTALL)


_MARK = 4
"""A literal of a template with so many characters stands in its prompts as often as in itself:
texts of people that hold it have it broken up."""
_TASKS: tuple[Task, ...] = ("whole", "reasoning", "answer", "vanilla", "ask")


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a prompt asks."""

    question: str
    context: str = ""
    system: str | None = None
    reasoning: str | None = None
    """Given in the prompt."""
    opened: bool = False
    """Its end opens the reasoning, in which the completion then begins."""
    form: FormatDefinition | None = None
    """The format that the prompt is written in; None: in none that is known here."""
    tasks: tuple[Task, ...] = ()
    """What it may ask for; some tasks of a format have one prompt."""


@dataclass(slots=True, kw_only=True)
class WrittenParts:
    """What a completion holds, and how much of it is the completion's own."""

    reasoning: str | None
    answer: str | None
    scope: Scope
    is_split: bool = False
    """The two stood in one text, in markup of other programs."""


@dataclass(slots=True)
class _Pattern:
    form: FormatDefinition
    tasks: tuple[Task, ...]
    template: str
    literals: Counter[str]
    longest: str
    """Of the literals."""

    @property
    def n_literal(self) -> int:
        return sum(map(len, self.literals.elements()))

    def match(self, text: str) -> dict[str, str] | None:
        """Return the fields of ``text``; None where it is no prompt of this template."""
        if self.longest not in text:
            return None
        marks = ((mark, n) for mark, n in self.literals.items() if len(mark) >= _MARK)
        if any(text.count(mark) != n for mark, n in marks):
            return None
        return match_template(self.template, text)


class Unwrapper:
    """Knows prompt formats and roles, and the markup of other programs."""

    def __init__(self, forms: Iterable[FormatDefinition], roles: Iterable[RoleDefinition]) -> None:
        forms = tuple(forms)
        found = [pattern for form in forms for pattern in _patterns(form)]
        self._patterns = sorted(found, key=lambda one: -one.n_literal)
        self._roles = {role.system.strip(): role.name for role in roles}
        self._tags = [form for form in forms if form.kind == "tagged" and form.tasks.whole]

    @classmethod
    def of(cls, registry: Registry) -> Self:
        """Return one that knows what a store knows."""
        return cls(
            (one.definition for one in registry.formats.values()),
            (one.definition for one in registry.roles.values()),
        )

    @classmethod
    def builtin(cls) -> Self:
        """Return one that knows the formats and roles that come with the product."""
        known = load_definitions()
        return cls(known.formats.values(), known.roles.values())

    def role(self, system: str | None) -> str | None:
        """Return the role whose system text this is; None where it is no role's."""
        return self._roles.get((system or "").strip())

    def asked(self, prompt: str, system: str | None = None) -> Asked:
        """Return what a prompt asks; one in no known format is the question itself.

        Raises:
            LeftOut: It asks for the next questions of a dialogue.
        """
        for pattern in self._patterns:
            fields = pattern.match(prompt)
            if fields is None:
                continue
            if pattern.tasks == ("ask",):
                raise LeftOut(NEXT_QUESTIONS)
            values = {name: value.strip() for name, value in fields.items()}
            return Asked(
                question=values["question"],
                context=values.get("context", ""),
                system=system or values.get("system") or None,
                reasoning=values.get("reasoning"),
                form=pattern.form,
                tasks=pattern.tasks,
            )
        question, opened = without_opening(prompt)
        return Asked(question=question, system=system, opened=opened)

    def written(self, asked: Asked, completion: WrittenText) -> WrittenParts:
        """Return what a completion of ``asked`` holds.

        Raises:
            Refused: It is not what the format of its prompt asks for, or cannot be split into a
                reasoning and an answer.
        """
        if asked.form is None or not {"whole", "reasoning"} & set(asked.tasks):
            return _split(completion, asked.reasoning, opened=asked.opened)
        split = split_reasoning(completion.text, reasoning=completion.reasoning)
        if split.problem == NO_ANSWER and "reasoning" in asked.tasks:  # no answer was asked for
            return WrittenParts(reasoning=split.reasoning, answer=None, scope="reasoning")
        found = _in_format(asked.form, asked.tasks, split.answer or "")
        if split.reasoning is None and split.problem is None and found is not None:
            return found
        if found is not None and found.answer is not None:
            raise _unsplit(completion.column, SECOND_REASONING)
        if split.reasoning is not None and "whole" in asked.tasks:
            return _split(completion, None)
        raise Refused(
            completion.column,
            f"holds no {asked.form.response_tag!r} after its reasoning, as prompts of the"
            f" format {asked.form.reference} ask for; add it.",
        )

    def answered(self, completion: WrittenText, *, opened: bool = False) -> WrittenParts:
        """Return what a completion whose prompt is a plain question holds.

        Args:
            completion: The completion.
            opened: The prompt opened its reasoning.

        Raises:
            Refused: It cannot be split into a reasoning and an answer.
        """
        for form in self._tags:
            if form.response_tag in completion.text and completion.reasoning is None:
                found = _in_format(form, ("whole", "reasoning"), completion.text)
                if found is not None:
                    return found
        return _split(completion, None, opened=opened)


def _split(completion: WrittenText, given: str | None, *, opened: bool = False) -> WrittenParts:
    """Return reasoning and answer; a reasoning ``given`` in the prompt is not the completion's."""
    own = completion.reasoning
    if given is not None and own is not None and given.split() != own.split():
        raise _unsplit(completion.column, SECOND_REASONING)
    split = split_reasoning(completion.text, reasoning=given or own, opened=opened)
    if split.problem is not None:
        raise _unsplit(completion.column, split.problem)
    return WrittenParts(
        reasoning=split.reasoning,
        answer=split.answer,
        scope="answer" if given is not None or split.reasoning is None else "whole",
        is_split=split.reasoning is not None and split.answer != completion.text.strip(),
    )


def _unsplit(column: str, problem: str) -> Refused:
    return Refused(column, f"{problem}; correct it or remove the row.")


def _in_format(form: FormatDefinition, tasks: tuple[Task, ...], text: str) -> WrittenParts | None:
    scopes: tuple[Scope, ...] = ("whole", "reasoning")
    for scope in scopes:
        templates = form.tasks.get(scope) if scope in tasks else None
        fields = match_template(templates.completion, text) if templates else None
        if fields is not None and all(value.strip() for value in fields.values()):
            reasoning, answer = fields["reasoning"].strip(), fields.get("answer")
            return WrittenParts(reasoning=reasoning, answer=answer and answer.strip(), scope=scope)
    if "reasoning" in tasks and form.response_tag not in text:  # its end was cut by a stop string
        return WrittenParts(reasoning=text, answer=None, scope="reasoning")
    return None


def _patterns(form: FormatDefinition) -> Iterator[_Pattern]:
    """Yield what finds the prompts of a format; prompts that are a bare question are left out."""
    tasks: dict[str, list[Task]] = {}
    for task in _TASKS:
        templates = form.tasks.get(task)
        if templates is not None:
            for prompt in {templates.prompt, without_empty_context(templates.prompt)}:
                tasks.setdefault(prompt, []).append(task)
    for prompt, of_task in tasks.items():
        pieces = parse_template(prompt)
        literals = Counter(one.text.strip() for one in pieces if not one.is_field)
        if any(literals):
            yield _Pattern(form, tuple(of_task), prompt, literals, max(literals, key=len))
