"""Records of a file as what they become in the store: questions with their texts and judgements.

All doors read rows by this: imports of questions, of training data, and of reasonings for sweeps.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from db.errors import UsageError
from serving.importers.fields import FIELDS, FieldMap
from serving.importers.parsed_row import LeftOut, Refused
from serving.importers.row_shapes import ParsedRow, RowParser
from serving.importers.rows import ImportRow, RowMaker
from serving.importers.source import Record, Source
from serving.importers.turns import USUAL, TurnKeys
from serving.importers.unwrap import Scope, Unwrapper


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
