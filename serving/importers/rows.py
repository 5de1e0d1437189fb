"""Records of a file as the rows that they become: their limits, and what is wrong with them.

All doors read rows by this: imports of questions, of training data, and of reasonings for sweeps.
"""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from db.errors import UsageError
from db.input_text import plain, problem_of
from serving.correctness import parse_answer_check
from serving.importers.fields import FIELDS, FieldMap, is_blank, is_held_out, written
from serving.importers.parsed_row import Cells, LeftOut, ParsedRow, Refused, Scope
from serving.importers.row_shapes import RowParser
from serving.importers.source import ImportFile, ImportRow, Record
from serving.importers.turns import USUAL, TurnKeys
from serving.importers.unwrap import Unwrapper

_LANGUAGE = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)")
_TAG_BORDER = re.compile("[;；\n]")
_TEXTS = (
    *("text", "context", "reference_answer", "reasoning", "output", "role", "category", "language"),
    *("external_id", "answer_check"),
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
_TRUTH = dict.fromkeys(("true", "1", "yes"), True) | dict.fromkeys(("false", "0", "no"), False)


class RowMaker:
    """Turns the records of one file into rows; what is wrong goes to the file's problems."""

    def __init__(
        self,
        source: ImportFile,
        unwrapper: Unwrapper,
        roles: Collection[str],
        *,
        keys: TurnKeys = USUAL,
        renamed: Mapping[str, str] | None = None,
        takes_judgements: bool = True,
        never_trains: bool = False,
        needs_text: bool = True,
    ) -> None:
        """Make a maker for one file.

        Args:
            source: The file.
            unwrapper: What knows prompt formats and the system texts of roles.
            roles: Names that a role may have.
            keys: How the file writes turns.
            renamed: What the file itself says that its columns stand for.
            takes_judgements: Without it, pairs are refused and labels are not used; columns that
                mean nothing to us are kept with the question.
            never_trains: All its questions are held out.
            needs_text: Else a row may name its question in another way than by its text.
        """
        self.source, self._roles = source, roles
        self._never_trains, self._needs_text = never_trains, needs_text
        self._parser = RowParser(
            unwrapper,
            fields=FieldMap(renamed),
            keys=keys,
            classes=source.class_names,
            takes_judgements=takes_judgements,
        )
        self._parser.notes.are_kept = needs_text and not takes_judgements
        self._counts = self._parser.notes.counts
        self._line = 0
        self._cells: Cells = {}

    def rows(self, record: Record) -> list[ImportRow]:
        """Return the rows of a record; none where it has a problem.

        Raises:
            LeftOut: It is of a kind that is not imported.
        """
        self._line = record.line
        try:
            parsed = self._parser.parse(record.values)
        except Refused as refused:
            self.source.refuse(record.line, refused.field, refused.what)
            return []
        except LeftOut as left_out:
            self._counts[str(left_out)] += 1
            raise
        made = map(self._judged_row, parsed)
        return [one for one in made if one is not None]

    def finish(self) -> None:
        """Add what was noted of all records to the notes of the file."""
        self.source.notes.extend(self._parser.notes.sentences())

    def must_ask(self) -> None:
        """Refuse a file none of whose records had a column that can be the question.

        Raises:
            UsageError: There was none.
        """
        if not self._parser.may_ask:
            raise UsageError(
                "{source_name}: no column can be the question; found "
                "{columns}. Name it one of "
                "{text}.",
                source_name=self.source.name,
                columns=", ".join(self.source.columns) or "none",
                text=", ".join(FIELDS["text"]),
            )

    def _judged_row(self, parsed: ParsedRow) -> ImportRow | None:
        """Return a row with what was judged of it."""
        row = self._row(parsed.cells)
        if row is None:
            return None
        row.label, row.scope, row.is_raw = parsed.label, parsed.scope, parsed.is_raw
        row.fields = parsed.fields
        if row.label is not None and row.reasoning is None and row.output is None:
            self.source.refuse(self._line, None, "judges a row without texts; remove the row.")
            return None
        is_judged = row.label is not None or parsed.rejected is not None
        if is_judged and not self._holds(row, parsed.scope):
            return None
        if parsed.rejected is not None:
            row.rejected = self._row(parsed.rejected)
            if row.rejected is None or not self._holds(row.rejected, parsed.scope):
                return None
            if (row.reasoning, row.output) == (row.rejected.reasoning, row.rejected.output):
                self._refuse("output", "says the same as the better one; remove the row.")
                return None
        return row

    def _holds(self, row: ImportRow, scope: Scope) -> bool:
        """Tell whether a row has the text that is judged of it; say so where it has not."""
        judged = "reasoning" if scope == "reasoning" else "output"
        if getattr(row, judged) is None:
            what = f"is missing, and the row judges the {scope}; add it or correct target."
            self._refuse(judged, what)
            return False
        return True

    def _row(self, cells: Cells) -> ImportRow | None:
        """Return the row that ``cells`` are; None where it has a problem."""
        n_before = len(self.source.problems)
        self._cells = cells
        texts = {
            name: self._text(name, cell.value)
            for name in _TEXTS
            if (cell := cells.get(name)) is not None and cell.value is not None
        }
        if self._needs_text and not texts.get("text") and len(self.source.problems) == n_before:
            self._refuse("text", "the question is empty; fill it in or remove the row.")
        role = self._role(texts.get("role"))
        language = self._language(texts.get("language"))
        tags = self._tags(self._value("tags"))
        answer_check = self._answer_check(texts.get("answer_check"))
        held_out = self._never_trains or self._held_out()
        if len(self.source.problems) > n_before:
            return None
        return ImportRow(
            line=self._line,
            text=texts.get("text") or "",
            context=texts.get("context") or "",
            reference_answer=texts.get("reference_answer"),
            answer_check=answer_check,
            reasoning=texts.get("reasoning"),
            output=texts.get("output"),
            role=role,
            category=texts.get("category"),
            language=language,
            tags=tags,
            external_id=texts.get("external_id"),
            held_out=held_out,
        )

    def _refuse(self, name: str, what: str) -> None:
        """Add a problem with a field."""
        cell = self._cells.get(name)
        self.source.refuse(self._line, name if cell is None else cell.column, what)

    def _value(self, name: str) -> Any:
        return cell.value if (cell := self._cells.get(name)) is not None else None

    def _text(self, name: str, value: Any) -> str | None:
        """Return a field as a text."""
        if is_blank(value):
            return None
        if isinstance(value, (dict, list, tuple, set)):
            kind = "an object" if isinstance(value, dict) else "a list"
            self._refuse(name, f"holds {kind}; give a text.")
            return None
        return self._clean(name, value)

    def _clean(self, name: str, value: Any) -> str | None:
        if isinstance(value, float) and math.isinf(value):
            self._refuse(name, "holds a number without end; write it as a text in quotes.")
            return None
        if name == "external_id" and isinstance(value, float) and abs(value) >= _EXACT:
            self._refuse(name, "is a number that was rounded; give the id as a text in quotes.")
            return None
        text = written(value)
        if problem := problem_of(text):
            self._refuse(name, problem)
            return None
        clean, n_removed = plain(text)
        if not clean.isascii() and _GARBLED.search(clean):
            self._counts["garbled"] += 1
        if n_removed:
            self._counts["cleaned"] += 1
        return clean or None

    def _role(self, value: str | None) -> str:
        """Return the role, one of those that are known."""
        role = (value or "assistant").lower()
        if role not in self._roles:
            known = ", ".join(self._roles)
            self._refuse("role", f"unknown role {value!r}; use one of {known}, or leave it empty.")
        return role

    def _language(self, value: str | None) -> str | None:
        """Return the code of the language, its first part in lower case."""
        if value is None:
            return None
        if found := _LANGUAGE.fullmatch(value):
            return found[1].lower() + found[2]
        what = f"{value[:40]!r} is no language code; write a code such as en, ja or zh."
        self._refuse("language", what)
        return None

    def _answer_check(self, value: str | None) -> str | None:
        """Return how answers are compared with the reference answer."""
        try:
            check = parse_answer_check(value or "")
        except UsageError as error:
            self._refuse("answer_check", f"cannot be used: {error}")
            return None
        return str(check) if check else None

    def _tags(self, value: Any) -> tuple[str, ...]:
        """Return the tags, each once."""
        if is_blank(value):
            return ()
        parts: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
        if isinstance(value, str):
            parts = _listed(value) or _TAG_BORDER.split(value)
        tags: dict[str, None] = {}
        for part in parts:
            if isinstance(part, (dict, list, tuple)):
                self._refuse("tags", "holds a list in a list; give words.")
                return ()
            tag = None if is_blank(part) else self._clean("tags", part)
            if tag:
                tags[tag] = None
        return tuple(tags)

    def _held_out(self) -> bool | None:
        """Return whether the question never trains; None where the row does not say."""
        split, value = self._value("split"), self._value("held_out")
        if split is not None and is_held_out(written(split)):
            return True
        if is_blank(value):
            return None
        word = written(value).strip().casefold()
        if word not in _TRUTH:
            self._refuse("held_out", f"{word[:40]!r} is not true or false.")
        return _TRUTH.get(word)


def _listed(text: str) -> list[Any] | None:
    """Return the list that a cell of a table holds as JSON; None where it holds none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
