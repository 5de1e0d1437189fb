"""Records of a file as what they become in the store: questions with their texts and judgements.

All doors read rows by this: imports of questions, of training data, and of reasonings for sweeps.
"""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.errors import UsageError
from db.input_text import plain, problem_of
from serving.importers.fields import FIELDS, FieldMap, is_blank, written
from serving.importers.fields import is_held_out as is_name_held_out
from serving.importers.parsed_row import LeftOut, Refused
from serving.importers.row_shapes import ParsedRow, RowParser
from serving.importers.source import Problem, Record, Source
from serving.importers.turns import USUAL, TurnKeys
from serving.importers.unwrap import Scope, Unwrapper

_LANGUAGE = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)")
_TAG_BORDER = re.compile("[;；\n]")
_TEXTS = (
    "text",
    "context",
    "reference_answer",
    "reasoning",
    "output",
    "role",
    "category",
    "language",
    "external_id",
)
_REST = (
    "[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc"
    "\u2013-\u203a\u20ac\u2122]"
)
"""What Windows-1252 makes of the further bytes of a character in UTF-8."""
_GARBLED = re.compile(
    "[\ufffd\u00c2\u00c3\u00ce-\u00d1\u00e0-\u00f0](?:"
    f"(?<=\ufffd)|(?<=[\u00c2\u00c3]){_REST}|(?<=[\u00ce-\u00d1]){_REST}[\u00ce-\u00d1]{_REST}"
    f"|(?<=[\u00e0-\u00ef]){_REST}{{2}}|(?<=\u00f0){_REST}{{3}})"
)
"""What is left of a character that was read in a wrong encoding before the file was written."""
_EXACT = 1e15
"""From here on, floating-point numbers are shown as rounded."""
_YES = frozenset({"true", "1", "yes"})
_NO = frozenset({"false", "0", "no"})


@dataclass(slots=True, kw_only=True)  # not frozen, which would take three times as long to make
class ImportRow:
    """A question as a file gives it, with the reasoning and the answer that came with it."""

    line: int
    """Line of a text file, row of a table, item of a list; from 1."""
    text: str
    context: str = ""
    reference_answer: str | None = None
    reasoning: str | None = None
    output: str | None = None
    role: str = "assistant"
    category: str | None = None
    language: str | None = None
    tags: tuple[str, ...] = ()
    external_id: str | None = None
    held_out: bool | None = None


@dataclass(slots=True, kw_only=True)
class ReadResult:
    """What a file holds: good rows and, apart from them, what is wrong with the others."""

    name: str
    unit: str
    """What its lines are called: ``line``, ``row`` or ``item``."""
    rows: list[ImportRow]
    problems: list[Problem]
    encoding: str
    columns: list[str]
    notes: list[str]
    """What the reader did without being asked, e.g. which columns it did not use."""


class RowMaker:
    """Turns parsed rows into rows of an import; what is wrong goes to the source's problems."""

    def __init__(self, source: Source, roles: Collection[str]) -> None:
        self.source, self.roles = source, roles
        self.n_cleaned = 0
        self.n_garbled = 0

    def row(
        self,
        line: int,
        values: Mapping[str, Any],
        names: Mapping[str, str],
        *,
        needs_text: bool = True,
    ) -> ImportRow | None:
        """Return the row that ``values`` are; None where it has a problem.

        Args:
            line: Its place in the file.
            values: Field → value.
            names: Field → what the file calls it.
            needs_text: Else it may name its question in another way than by its text.
        """
        n_before = len(self.source.problems)
        cells = _Cells(self, line, values, names)
        texts = {name: cells.text(name) for name in _TEXTS if values.get(name) is not None}
        if needs_text and not texts.get("text") and len(self.source.problems) == n_before:
            cells.refuse("text", "the question is empty; fill it in or remove the row.")
        role = cells.role(texts.get("role"))
        language = cells.language(texts.get("language"))
        tags = cells.tags()
        held_out = cells.held_out()
        if len(self.source.problems) > n_before:
            return None
        return ImportRow(
            line=line,
            text=texts.get("text") or "",
            context=texts.get("context") or "",
            reference_answer=texts.get("reference_answer"),
            reasoning=texts.get("reasoning"),
            output=texts.get("output"),
            role=role,
            category=texts.get("category"),
            language=language,
            tags=tags,
            external_id=texts.get("external_id"),
            held_out=held_out,
        )


@dataclass(slots=True)
class _Cells:
    """The values of one row."""

    maker: RowMaker
    line: int
    values: Mapping[str, Any]
    names: Mapping[str, str]

    def refuse(self, name: str, what: str) -> None:
        """Add a problem with a field."""
        self.maker.source.refuse(self.line, self.names.get(name, name), what)

    def text(self, name: str) -> str | None:
        """Return a field as a text."""
        value = self.values.get(name)
        if is_blank(value):
            return None
        if isinstance(value, (dict, list, tuple, set)):
            kind = "an object" if isinstance(value, dict) else "a list"
            self.refuse(name, f"holds {kind}; give a text.")
            return None
        return self._clean(name, value)

    def _clean(self, name: str, value: Any) -> str | None:
        if isinstance(value, float) and math.isinf(value):
            self.refuse(name, "holds a number without end; write it as a text in quotes.")
            return None
        if name == "external_id" and isinstance(value, float) and abs(value) >= _EXACT:
            self.refuse(name, "is a number that was rounded; give the id as a text in quotes.")
            return None
        text = written(value)
        problem = problem_of(text)
        if problem:
            self.refuse(name, problem)
            return None
        clean, n_removed = plain(text)
        self.maker.n_garbled += not clean.isascii() and _GARBLED.search(clean) is not None
        self.maker.n_cleaned += bool(n_removed)
        return clean or None

    def role(self, value: str | None) -> str:
        """Return the role, one of those that are known."""
        role = (value or "assistant").lower()
        if role not in self.maker.roles:
            known = ", ".join(self.maker.roles)
            self.refuse("role", f"unknown role {value!r}; use one of {known}, or leave it empty.")
        return role

    def language(self, value: str | None) -> str | None:
        """Return the code of the language, its first part in lower case."""
        if value is None:
            return None
        found = _LANGUAGE.fullmatch(value)
        if found is None:
            self.refuse(
                "language",
                f"{value[:40]!r} is no language code; write a code such as en, ja or zh.",
            )
            return None
        return found[1].lower() + found[2]

    def tags(self) -> tuple[str, ...]:
        """Return the tags, each once."""
        value = self.values.get("tags")
        if is_blank(value):
            return ()
        parts: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
        if isinstance(value, str):
            parts = _listed(value) or _TAG_BORDER.split(value)
        tags: dict[str, None] = {}
        for part in parts:
            if isinstance(part, (dict, list, tuple)):
                self.refuse("tags", "holds a list in a list; give words.")
                return ()
            tag = None if is_blank(part) else self._clean("tags", part)
            if tag:
                tags[tag] = None
        return tuple(tags)

    def held_out(self) -> bool | None:
        """Return whether the question never trains; None where the row does not say."""
        split = self.values.get("split")
        if split is not None and is_name_held_out(written(split)):
            return True
        value = self.values.get("held_out")
        if is_blank(value):
            return None
        word = written(value).strip().casefold()
        if word not in _YES | _NO:
            self.refuse("held_out", f"{word[:40]!r} is not true or false.")
            return None
        return word in _YES


def _listed(text: str) -> list[Any] | None:
    """Return the list that a cell of a table holds as JSON; None where it holds none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


@dataclass(slots=True, kw_only=True)
class Example:
    """A question with a reasoning and an answer, and what was judged of them."""

    row: ImportRow
    rejected: ImportRow | None = None
    """The same question with the texts that are worse."""
    label: bool | None = None
    """OK or not OK."""
    scope: Scope
    """What is compared or judged; of the others, what is to be learned."""
    is_raw: bool = False
    """Its prompt was the question alone, with the context after a blank line if it has one."""


class ExampleMaker:
    """Turns the records of one file into examples; what is wrong goes to the file's problems."""

    def __init__(
        self,
        source: Source,
        unwrapper: Unwrapper,
        roles: Collection[str],
        *,
        keys: TurnKeys = USUAL,
        renamed: Mapping[str, str] | None = None,
        takes_judgements: bool = True,
    ) -> None:
        """Make a maker for one file.

        Args:
            source: The file.
            unwrapper: What knows prompt formats and the system texts of roles.
            roles: Names that a role may have.
            keys: How the file writes turns.
            renamed: What the file itself says that its columns stand for.
            takes_judgements: Without it, pairs are refused and labels are not used.
        """
        self.source = source
        self._parser = RowParser(
            unwrapper,
            fields=FieldMap(renamed),
            keys=keys,
            classes=source.class_names,
            takes_judgements=takes_judgements,
        )
        self._maker = RowMaker(source, roles)

    def examples(
        self, record: Record, *, is_held_out: bool = False, needs_text: bool = True
    ) -> list[Example]:
        """Return the examples of a record; none where it has a problem.

        Args:
            record: The record.
            is_held_out: Its file never trains.
            needs_text: Else a row may name its question in another way than by its text.

        Raises:
            LeftOut: It is of a kind that is not imported.
        """
        try:
            parsed = self._parser.parse(record.values)
        except Refused as refused:
            self.source.refuse(record.line, refused.field, refused.what)
            return []
        except LeftOut as left_out:
            self._parser.notes.counts[str(left_out)] += 1
            raise
        made = (self._made(record.line, one, is_held_out, needs_text) for one in parsed)
        return [one for one in made if one is not None]

    def finish(self) -> None:
        """Add what was noted of all records to the notes of the file."""
        notes = self._parser.notes
        notes.counts["cleaned"] = self._maker.n_cleaned
        notes.counts["garbled"] = self._maker.n_garbled
        self.source.notes.extend(notes.sentences())

    def must_ask(self, columns: Collection[str]) -> None:
        """Refuse a file none of whose records had a column that can be the question.

        Raises:
            UsageError: There was none.
        """
        if not self._parser.may_ask:
            raise UsageError(
                f"{self.source.name}: no column can be the question; found "
                f"{', '.join(columns) or 'none'}. Name it one of {', '.join(FIELDS['text'])}."
            )

    def _made(
        self, line: int, parsed: ParsedRow, is_held_out: bool, needs_text: bool
    ) -> Example | None:
        values = {**parsed.texts, "held_out": True} if is_held_out else parsed.texts
        row = self._maker.row(line, values, parsed.names, needs_text=needs_text)
        if row is None:
            return None
        if parsed.label is not None and row.reasoning is None and row.output is None:
            self.source.refuse(line, None, "judges a row without texts; remove the row.")
            return None
        is_judged = parsed.label is not None or parsed.rejected is not None
        if is_judged and not self._holds(line, row, parsed.scope, parsed.names):
            return None
        rejected = None
        if parsed.rejected is not None:
            rejected = self._rejected(line, parsed, values, row)
            if rejected is None:
                return None
        return Example(
            row=row,
            rejected=rejected,
            label=parsed.label,
            scope=parsed.scope,
            is_raw=parsed.is_raw,
        )

    def _rejected(
        self, line: int, parsed: ParsedRow, values: Mapping[str, object], row: ImportRow
    ) -> ImportRow | None:
        """Return the question with the worse texts of a pair."""
        worse, names = parsed.rejected, parsed.rejected_names
        assert worse is not None
        texts = {**values, "reasoning": worse.reasoning, "output": worse.answer}
        rejected = self._maker.row(line, texts, names)
        if rejected is None or not self._holds(line, rejected, parsed.scope, names):
            return None
        if (row.reasoning, row.output) == (rejected.reasoning, rejected.output):
            self.source.refuse(
                line, names["output"], "says the same as the better one; remove the row."
            )
            return None
        return rejected

    def _holds(self, line: int, row: ImportRow, scope: Scope, names: Mapping[str, str]) -> bool:
        """Tell whether a row has the text that is judged of it; say so where it has not."""
        judged = "reasoning" if scope == "reasoning" else "output"
        if (row.reasoning if scope == "reasoning" else row.output) is not None:
            return True
        self.source.refuse(
            line,
            names.get(judged, judged),
            f"is missing, and the row judges the {scope}; add it or correct target.",
        )
        return False
