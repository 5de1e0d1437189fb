"""What files call the fields of a question and of what was written for it, and what cells say."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from db.new_files import json_line
from db.questions import QuestionRow
from serving.importers.parsed_row import Cell, Refused


def is_blank(value: Any) -> bool:
    """Tell whether a cell holds nothing: no value, no number, or white space."""
    if isinstance(value, str):
        return not value or value.isspace()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, (list, dict, tuple)) and not value


def written(value: Any) -> str:
    """Return a cell as a person would write it: 42.0 as 42, dates as in ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime):
        is_day = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return value.date().isoformat() if is_day else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


FIELDS: dict[str, tuple[str, ...]] = {
    "text": (
        *("instruction", "question", "prompt", "problem", "query", "user_prompt", "text"),
        *("質問", "問題", "問い"),
    ),
    "context": ("input", "context"),
    "system": ("system", "system_prompt"),
    "reference_answer": (
        "reference_answer",
        "reference",
        "expected",
        "expected_answer",
        "expected_output",
        "ground_truth",
        "gold_answer",
        "gold_standard_solution",
        "ground_truth_solution",
        "correct_answer",
        "best_answer",
        "target",
        "参考解答",
        "模範解答",
        "正解",
    ),
    "answer_check": ("answer_check",),
    "reasoning": (
        "reasoning",
        "reasoning_content",
        "thinking",
        "thought",
        "thoughts",
        "rationale",
        "chain_of_thought",
        "cot",
        "complex_cot",
        "think_content",
        "thinking_content",
        "reasoning_trace",
        "deepseek_reasoning",
        "deepseek_thinking_trajectory",
        "thinking_trajectory",
        "thinking_trajectories",
        "think",
        "thought_process",
        "thinking_process",
        "model_reasoning",
        "reasoning_details",
        "thinking_blocks",
        "推論",
    ),
    "output": (
        "output",
        "response",
        "completion",
        "generations",
        "generated_solution",
        "deepseek_solution",
        "deepseek_attempt",
        "attempt",
        "model_answer",
        "model_output",
        "model_response",
        "llm_response",
        "answer",
        "solution",
        "final_answer",
        "回答",
    ),
    "choices": ("choices", "options"),
    "key": ("answer_key", "answer_idx", "answer_index", "correct_option"),
    "messages": ("messages", "conversations", "conversation"),
    "chosen": ("chosen", "chosen_response", "preferred_output"),
    "rejected": ("rejected", "rejected_response", "non_preferred_output"),
    "chosen_reasoning": ("chosen_reasoning",),
    "rejected_reasoning": ("rejected_reasoning",),
    "rejected_answer": ("rejected_answer",),
    "label": ("label", "kto_tag"),
    "judged": ("target",),
    "role": ("flag", "role"),
    "category": ("category", "分類", "カテゴリ", "カテゴリー"),
    "language": ("language", "lang", "言語"),
    "tags": ("tags", "tag", "タグ"),
    "external_id": ("external_id", "id", "custom_id", "uuid", "problem_id", "prompt_id"),
    "held_out": ("held_out", "is_held_out", "holdout", "is_holdout", "is_test"),
    "split": ("split", "data_split", "dataset_split", "partition"),
    "history": ("history",),
    "body": ("body",),
}
"""Field → names that files use for it, the first that is filled wins.

Case does not matter, nor how words are joined: ``Held-Out`` and ``heldOut`` are ``held_out``.

``target`` is what a row of our own table judges, and otherwise a reference answer. Where several
columns of answers are filled, ``answer``, ``final_answer`` or ``solution`` is the reference answer.
"""
KEPT = "kept"
"""What a column is renamed to that is no field of ours and is kept as it is."""
NAMES = frozenset(name for names in FIELDS.values() for name in names)


@lru_cache(maxsize=4096)
def plain_name(column: str) -> str:
    """Return a column's name as the table has it; one that is not in the table in lower case."""
    name = column.strip().casefold()
    return _BY_LETTERS.get(letters(name), name)


def letters(name: str) -> str:
    """Return a name in lower case without what joins its words."""
    return "".join(filter(str.isalnum, name.casefold()))


_BY_LETTERS = {letters(name): name for name in sorted(NAMES)}


class FieldMap:
    """Finds the columns of fields in rows of one file, whatever columns each row has."""

    def __init__(self, renamed: Mapping[str, str] | None = None) -> None:
        """``renamed`` is the file's own statement: its columns → the names they stand for."""
        self._renamed = {column: field_of(ours) or ours for column, ours in (renamed or {}).items()}
        self._found: dict[tuple[str, ...], Mapping[str, Sequence[str]]] = {}

    def columns(self, names: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
        """Return field → the columns among ``names`` that may fill it, the preferred one first."""
        found = self._found.get(names)
        if found is None:
            found = self._found[names] = self._resolve(names)
        return found

    def _resolve(self, names: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
        """Return the columns of each field; where the file names one, no other fills the field."""
        stated: dict[str, list[str]] = {}
        by_name: dict[str, str] = {}
        for column in names:
            if column in self._renamed:
                stated.setdefault(self._renamed[column], []).append(column)
            else:
                by_name.setdefault(plain_name(column), column)
        usual = {
            field: [by_name[name] for name in known if name in by_name]
            for field, known in FIELDS.items()
        }
        return {field: columns for field, columns in (usual | stated).items() if columns}


def has_question(columns: Iterable[str]) -> bool:
    """Tell whether one of ``columns`` can be the question."""
    return any(plain_name(one) in FIELDS["text"] for one in columns)


def field_of(name: str) -> str | None:
    """Return the field that a column called ``name`` fills first; None where it fills none."""
    wanted = plain_name(name)
    return next((field for field, names in FIELDS.items() if wanted in names), None)


class RowFields:
    """The fields of one row; remembers which columns were used."""

    def __init__(self, values: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> None:
        self.values, self.columns = values, columns
        self.used: set[str] = set()
        self._blank = {name for name, value in values.items() if is_blank(value)}

    def filled(self, name: str) -> list[str]:
        """Return the columns of a field that hold something."""
        return [one for one in self.columns.get(name, ()) if one not in self._blank]

    def column(self, name: str) -> str | None:
        """Return the first filled column of a field, else the first one; None: there is none."""
        columns = self.columns.get(name)
        if not columns:
            return None
        if len(columns) > 1:
            return next((one for one in columns if one not in self._blank), columns[0])
        return columns[0]

    def peek(self, name: str) -> Any:
        """Return the value of a field; None where it is not filled."""
        if name not in self.columns:  # most fields of most rows
            return None
        column = self.column(name)
        return None if column is None or column in self._blank else self.values[column]

    def take(self, name: str) -> Cell:
        """Return the cell of a field, which counts as used."""
        column = self.column(name)
        if column is None:
            return Cell(None, name)
        self.used.add(column)
        return Cell(None if column in self._blank else self.values[column], column)

    def unused(self) -> Iterator[str]:
        """Yield the names of the columns that hold something and were not used."""
        for column in self.values:
            if column and column not in self.used and column not in self._blank:
                yield column


def is_turns(value: Any) -> bool:
    """Tell whether a value is turns of a chat: one, or a list of them."""
    if isinstance(value, dict):
        return any(key in value for key in ("role", "from"))
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], dict)


def kept_fields(values: Mapping[str, Any]) -> str:
    """Return columns that mean nothing to us as a JSON object; signs of no script are replaced."""
    text = json.dumps(dict(values), ensure_ascii=False, default=written)
    return text.encode("utf-8", "replace").decode()


_OK = (
    "true", "1", "1.0", "yes", "y", "ok", "okay", "good", "positive", "pos", "correct", "right",
    "accept", "accepted", "pass", "passed", "chosen", "desirable", "up", "thumbs up", "like",
)  # fmt: skip
_NOT_OK = (
    "false", "0", "0.0", "no", "n", "not ok", "bad", "negative", "neg", "incorrect", "wrong",
    "reject", "rejected", "fail", "failed", "undesirable", "down", "thumbs down", "dislike",
    "not okay", "not good",
)  # fmt: skip
_MEANING = dict.fromkeys(_OK, True) | dict.fromkeys(_NOT_OK, False)
_JOINED = re.compile(r"[_-](?=\D)")
"""What joins words; the sign of a number does not."""
_NO_CLASS = -1
"""What `datasets` writes where a row has no class."""


def label_of(value: Any, name: str, classes: Sequence[str] = ()) -> bool | None:
    """Return whether a row is OK; None where it does not say.

    Args:
        value: The label.
        name: What the file calls it.
        classes: What the file says that the numbers 0, 1, … stand for.

    Raises:
        Refused: It is none of the labels that are known.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    shown: Any = value
    number = _number_of(value, classes) if classes else None
    if number is not None:
        if number == _NO_CLASS:
            return None
        if number != int(number) or not 0 <= number < len(classes):
            raise Refused(name, f"is {value}, and the file names {len(classes)} classes only.")
        shown = classes[int(number)]
    word = " ".join(_JOINED.sub(" ", str(shown).strip().casefold()).split())
    if not word:
        return None
    if (found := _MEANING.get(word)) is not None:
        return found
    what = f"is {str(shown)[:40]!r}"
    if classes:
        what += f" (one of the classes {', '.join(map(repr, classes[:8]))}); which one is OK?"
        raise Refused(name, f"{what} Write true (OK) or false (not OK).")
    raise Refused(name, f"{what}; write true (OK) or false (not OK).")


def _number_of(value: Any, classes: Sequence[str]) -> float | None:
    """Return the number of a class, as which tables of text have it too; None: it is a name."""
    if isinstance(value, bool) or (isinstance(value, str) and value.strip() in classes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


HELD_OUT = frozenset(
    {"held_out", "heldout", "holdout", "hold_out", "test", "testing", "validation", "valid", "val"}
    | {"dev", "eval", "evaluation"}
)
"""Names of splits that never train."""
_BETWEEN = re.compile("[^a-z]+")


def is_held_out(name: str) -> bool:
    """Tell whether a name is, begins with, or ends with that of a split that never trains."""
    words = _BETWEEN.sub("_", name.lower()).strip("_")
    return words in HELD_OUT or any(
        words.startswith(f"{split}_") or words.endswith(f"_{split}") for split in HELD_OUT
    )


def question_line(row: QuestionRow) -> str:
    """Return a question as one JSON object; what is empty is left out.

    The id of the store is not written: it means nothing elsewhere, and an import would take it for
    the question's own id.
    """
    record: dict[str, object] = {
        "external_id": row.external_id,
        "instruction": row.text,
        "input": row.context,
        "flag": row.role,
        "reference_answer": row.reference_answer,
        "answer_check": row.answer_check,
        "category": row.category,
        "language": row.language,
        "tags": list(row.tags),
        "held_out": row.held_out,
    }
    own = {name: value for name, value in row.fields.items() if name not in record}
    filled_in = {key: value for key, value in record.items() if value not in (None, "", [])} | own
    return json_line(filled_in)
