"""One row of a training file as what it becomes in the store: a question with its texts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from serving.importers.folders import is_held_out as is_name_held_out
from serving.importers.rows import COLUMN_NAMES, ImportRow, RowMaker
from serving.importers.source import Record, Source
from serving.importers.told import LeftOut, Refused, label_of, text_of
from serving.importers.turns import USUAL, TurnKeys, is_of_turns, told_by
from serving.importers.unwrap import Scope, Unwrapper, Written

_ABOUT = ("language", "lang", "tags", "tag", "category", "reference_answer", "external_id", "id")
"""What a row of turns may say of its question beside its texts."""
USED = frozenset(
    {*COLUMN_NAMES, *_ABOUT, "chosen", "rejected", "label", "kto_tag", "prompt", "completion"}
    | {"conversations", "messages", "system", "target", "split"}
    | {"rejected_reasoning", "rejected_answer"}
)
"""Names of fields that are understood, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question with a reasoning and an answer, and what was judged of them."""

    row: ImportRow
    rejected: ImportRow | None = None
    """The same question with the texts that are worse."""
    label: bool | None = None
    """OK or not OK."""
    scope: Scope
    """What is compared or judged; of the others, what is to be learned."""
    is_bare: bool = False
    """Its prompt was the question alone, with the context after a blank line if it has one."""


@dataclass(slots=True)
class _Named(Source):
    """A source whose problems name a row's fields as the file does."""

    names: Mapping[str, str] = field(default_factory=dict)

    def refuse(self, line: int | None, column: str | None, what: str) -> None:
        """Add a problem."""
        Source.refuse(self, line, self.names.get(column or "", column), what)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Understood:
    """A row in our own fields."""

    texts: dict[str, Any]
    """By the names that ``RowMaker`` reads."""
    rejected: Written | None = None
    label: bool | None = None
    scope: Scope
    names: Mapping[str, str] = field(default_factory=dict)
    is_bare: bool = False


class ExampleMaker:
    """Turns the records of one file into examples; what is wrong goes to the file's problems."""

    def __init__(
        self, source: Source, unwrapper: Unwrapper, roles: Collection[str], keys: TurnKeys = USUAL
    ) -> None:
        self.source = _Named(
            name=source.name,
            unit=source.unit,
            encoding=source.encoding,
            problems=source.problems,
            notes=source.notes,
        )
        self.unwrapper, self.keys = unwrapper, keys
        self._maker = RowMaker(self.source, roles)

    def example(self, record: Record, *, is_held_out: bool) -> Example | None:
        """Return the example of a record; None where it has a problem.

        Raises:
            LeftOut: It is of a kind that is not imported.
        """
        values = {name.strip().casefold(): value for name, value in record.values.items()}
        try:
            found = self._understood(values)
        except Refused as refused:
            Source.refuse(self.source, record.line, refused.field, refused.what)
            return None
        if is_held_out or is_name_held_out(str(values.get("split") or "")):
            found.texts["held_out"] = True
        self.source.names = found.names
        row = self._maker.row(Record(record.line, found.texts))
        if row is None:
            return None
        if found.label is not None and row.reasoning is None and row.output is None:
            self.source.refuse(record.line, None, "judges a row without texts; remove the row.")
            return None
        if found.label is not None and not self._holds(record.line, row, found.scope):
            return None
        if found.rejected is not None:
            return self._pair(record.line, found, row)
        return Example(row=row, label=found.label, scope=found.scope, is_bare=found.is_bare)

    def _holds(self, line: int, row: ImportRow, scope: Scope) -> bool:
        """Tell whether a row has the text that it judges; say so where it has not."""
        judged = "reasoning" if scope == "reasoning" else "output"
        if (row.reasoning if scope == "reasoning" else row.output) is not None:
            return True
        self.source.refuse(
            line, judged, f"is missing, and the row judges the {scope}; add it or correct target."
        )
        return False

    def _pair(self, line: int, found: _Understood, row: ImportRow) -> Example | None:
        worse = found.rejected
        assert worse is not None
        texts = {"reasoning": worse.reasoning, "output": worse.answer}
        names = dict(found.names)
        for name in ("reasoning", "output"):
            names[name] = names.get(f"rejected_{name}", "rejected")
        self.source.names = names
        rejected = self._maker.row(Record(line, {**found.texts, **texts}))
        if rejected is None:
            return None
        if not self._holds(line, rejected, found.scope):
            return None
        if (row.reasoning, row.output) == (rejected.reasoning, rejected.output):
            self.source.refuse(line, "output", "says the same as the better one; remove the row.")
            return None
        self.source.names = found.names
        if not self._holds(line, row, found.scope):
            return None
        return Example(row=row, rejected=rejected, scope=found.scope, is_bare=found.is_bare)

    def _understood(self, values: Mapping[str, Any]) -> _Understood:
        if is_of_turns(values):
            return self._of_turns(values)
        if text_of(values, "target") == "questions":
            raise LeftOut("next_questions")
        if values.get("history"):
            raise Refused("history", "holds earlier turns; a row is one question with one answer.")
        if "chosen" in values or "rejected" in values:
            return self._named_pair(values)
        return self._named(values)

    def _of_turns(self, values: Mapping[str, Any]) -> _Understood:
        told = told_by(values, self.keys)
        asked = self.unwrapper.asked(told)
        names = told.fields
        fields = {"instruction": names["prompt"], "input": names["prompt"]}
        fields |= {"output": names["completion"], "reasoning": names["completion"]}
        texts = {name: values[name] for name in _ABOUT if name in values}
        texts |= self._prompt(asked.question, asked.context, asked.system, values)
        is_bare = asked.form is None and not texts["input"]
        if told.completion is None:
            return _Understood(texts=texts, scope="answer", names=fields, is_bare=is_bare)
        better = self.unwrapper.written(asked, told.completion, names["completion"])
        texts |= {"reasoning": better.reasoning, "output": better.answer}
        worse = None
        if told.rejected is not None:
            worse = self.unwrapper.written(asked, told.rejected, names["rejected"])
            _must_be_alike(better, worse)
        return _Understood(
            texts=texts,
            rejected=worse,
            label=told.label,
            scope=better.scope,
            names=fields,
            is_bare=is_bare,
        )

    def _prompt(
        self, question: str, context: str, system: str | None, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return question, context and role; a system text that is no role's is context."""
        role = self.unwrapper.role(system)
        if system and role is None:
            context = f"{system}\n\n{context}".strip()
        flag = values.get("flag") or role
        return {"instruction": question, "input": context, "flag": flag}

    def _named(self, values: Mapping[str, Any]) -> _Understood:
        """Return a row of Alpaca's kind, or of our own table."""
        texts = _own_fields(values)
        if isinstance(values.get("system"), str):
            given = self._prompt("", str(texts.get("input") or ""), values["system"], values)
            texts |= {name: given[name] for name in ("input", "flag") if given[name]}
        scope: Scope = "answer" if not _filled(texts, "reasoning") else "whole"
        if _filled(texts, "reasoning") and not _filled(texts, "output"):
            scope = "reasoning"
        target = text_of(values, "target")
        if target is None and "rejected_reasoning" in values and not values.get("rejected_answer"):
            scope = "reasoning"
        if target in ("reasoning", "answer", "whole"):
            scope = target  # type: ignore[assignment]
        worse = Written(
            reasoning=text_of(values, "rejected_reasoning"),
            answer=text_of(values, "rejected_answer"),
            scope=scope,
        )
        if worse.reasoning is None and worse.answer is None:
            return _Understood(texts=texts, label=label_of(values), scope=scope)
        if scope == "answer":
            worse = replace(worse, reasoning=text_of(values, "reasoning"))
        names = {"rejected_reasoning": "rejected_reasoning", "rejected_output": "rejected_answer"}
        return _Understood(texts=texts, rejected=worse, scope=scope, names=names)

    def _named_pair(self, values: Mapping[str, Any]) -> _Understood:
        """Return a pair of Alpaca's kind; a reasoning beside it was given to both."""
        told = {name: text_of(values, name) for name in ("chosen", "rejected")}
        for name, text in told.items():
            if text is None:
                raise Refused(name, "is empty; fill it in or remove the row.")
        texts = _own_fields(values)
        better = self.unwrapper.tagged(str(told["chosen"]))
        worse = self.unwrapper.tagged(str(told["rejected"]))
        if given := text_of(values, "reasoning"):
            better = replace(better, reasoning=given)
            worse = replace(worse, reasoning=given)
        _must_be_alike(better, worse)
        texts |= {"reasoning": better.reasoning, "output": better.answer}
        names = {"reasoning": "chosen", "output": "chosen"}
        return _Understood(texts=texts, rejected=worse, scope=better.scope, names=names)


def _own_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values under the first of their names that is filled, as ``RowMaker`` knows it."""
    aliases = {
        "instruction": ("instruction", "question", "prompt", "text"),
        "input": ("input", "context"),
        "flag": ("flag", "role"),
        "reasoning": ("reasoning",),
        "output": ("output", "answer", "response"),
    }
    found = {name: values[name] for name in _ABOUT if name in values}
    for name, given in aliases.items():
        filled = [values[one] for one in given if values.get(one) not in (None, "")]
        found[name] = next(iter(filled), None)
    return found


def _filled(texts: Mapping[str, Any], name: str) -> bool:
    value = texts.get(name)
    return value is not None and bool(str(value).strip())


def _must_be_alike(better: Written, worse: Written) -> None:
    if better.scope != worse.scope:
        raise Refused(
            "rejected", f"is of another kind ({worse.scope}) than chosen ({better.scope})."
        )
