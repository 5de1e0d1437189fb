"""The one table of what files call the fields of a question and of what was written for it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

FIELDS: dict[str, tuple[str, ...]] = {
    "text": ("instruction", "question", "prompt", "problem", "query", "user_prompt", "text"),
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
    ),
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
    "category": ("category",),
    "language": ("language", "lang"),
    "tags": ("tags", "tag"),
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
