"""Rows of a dataset: their texts as frozen, and the token ids that trainers learn from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.tables import Dataset, DatasetRow
from serving.formats.definitions import (
    QUESTION_FIELDS,
    Completion,
    FormatDefinition,
    PromptError,
    PromptFields,
    Task,
    values_given,
)
from serving.formats.library import form_for
from serving.formats.render import IGNORED_LABEL, TrainingExample, render_example
from serving.formats.tokenizer import PromptTokenizer
from training.methods import ROW_KINDS, RowKind

Target = Literal["reasoning", "answer", "whole", "questions"]
"""What is to be learned: the reasoning, the answer, both in one completion, or next questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTexts:
    """All texts of a row: those of its prompt and those to learn."""

    system: str
    """The system text of the role, as it was when the dataset was frozen."""
    role: str
    question: str
    """The fields of prompts that the question gives (``QUESTION_FIELDS``), by their names."""
    context: str = ""
    language: str | None = None
    reasoning: str | None = None
    """To be learned or, where the target is the answer, given in the prompt."""
    answer: str | None = None
    rejected_reasoning: str | None = None
    """Preference rows: what is to become less likely."""
    rejected_answer: str | None = None
    theme: str | None = None
    """Rows of next questions: what the dialogue is about, as the model was told it."""
    move: str | None = None
    """What kind of question is asked for, as the model was told it."""
    asked_language: str | None = None
    """The name of the language that the questions are to be in."""
    questions: str | None = None
    """The questions that people chose, as a JSON list; ``answer`` is then what they follow from,
    and ``reasoning`` what that answer was written under."""
    rejected_questions: str | None = None

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the texts that ``payload`` holds."""
        return cls(**payload)

    def payload(self) -> dict[str, Any]:
        """Return the texts as JSON values; what is not there is left out."""
        values = {name: getattr(self, name) for name in type(self).__slots__}
        return {name: value for name, value in values.items() if value is not None}

    def task(self, target: Target) -> Task:
        """Return what the model is asked for."""
        if target == "answer":
            return "vanilla" if self.reasoning is None else "answer"
        return "ask" if target == "questions" else target

    def fields(self, target: Target) -> PromptFields:
        """Return the values of the prompt; the same for all completions of the row."""
        asked = values_given(self, {name: name for name in QUESTION_FIELDS})
        if target == "questions":
            return PromptFields(
                **asked,
                system=self.system,
                answer=self.answer,
                theme=self.theme,
                move=self.move,
                language=self.asked_language,
            )
        return PromptFields(
            **asked,
            system=self.system,
            reasoning=self.reasoning if target == "answer" else None,
        )

    def completion(self, target: Target, *, rejected: bool = False) -> Completion:
        """Return what is to be written, or what is rather not."""
        if target == "questions":
            return Completion(questions=self.rejected_questions if rejected else self.questions)
        reasoning = self.rejected_reasoning if rejected else self.reasoning
        answer = self.rejected_answer if rejected else self.answer
        return Completion(
            reasoning=None if target == "answer" else reasoning,
            response=None if target == "reasoning" else answer,
        )


EncodedRow = dict[str, list[int] | bool]
"""Demonstrations: input_ids, labels; pairs: prompt_ids, chosen_ids, rejected_ids; labelled texts:
prompt_ids, completion_ids, label. Prompts begin with BOS where the model has one, completions end
with the stop token unless the format ends them by a stop string."""


def encode_dataset(
    session: Session,
    dataset_id: int,
    split: Literal["train", "held_out"],
    form: FormatDefinition,
    tokenizer: PromptTokenizer,
    *,
    every: int = 1,
) -> list[EncodedRow]:
    """Return the rows of one split of a frozen dataset as token ids, in its order.

    Of each ``every`` places of the dataset only the first is looked at.

    Raises:
        UsageError: There is no such dataset, it is not frozen, or a row cannot be rendered in
            this format; the sentence names the row.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise UsageError(
            "There is no dataset {dataset_id}; `q2q dataset show` lists them all.",
            dataset_id=dataset_id,
        )
    if dataset.content_hash is None:
        raise UsageError(
            "The dataset {dataset_name} is not frozen; build it again.", dataset_name=dataset.name
        )
    kind = ROW_KINDS[dataset.kind]
    rows = session.execute(
        select(DatasetRow.position, DatasetRow.target, DatasetRow.label, DatasetRow.payload)
        .where(
            DatasetRow.dataset_id == dataset_id,
            DatasetRow.split == split,
            DatasetRow.position % every == 0,
        )
        .order_by(DatasetRow.position)
    )
    encoded = []
    for position, target, label, payload in rows:
        texts = RowTexts.from_payload(payload)
        try:
            encoded.append(
                encode_row(kind, texts, cast(Target, target), label, form=form, tokenizer=tokenizer)
            )
        except PromptError as error:
            raise UsageError(
                "Row {position} of the dataset {dataset_name}: {error}",
                position=position,
                dataset_name=dataset.name,
                error=error,
            ) from error
    return encoded


def encode_row(
    kind: RowKind,
    texts: RowTexts,
    target: Target,
    label: bool | None,
    *,
    form: FormatDefinition,
    tokenizer: PromptTokenizer,
) -> EncodedRow:
    """Return one row as token ids.

    Raises:
        PromptError: A text is missing, or cannot be made safe.
        UsageError: The format lacks the task, or the model has no token that ends a text.
    """
    task = texts.task(target)
    form = form_for(form, task)

    def example(*, rejected: bool = False) -> TrainingExample:
        return render_example(
            form,
            task,
            texts.fields(target),
            texts.completion(target, rejected=rejected),
            tokenizer,
        )

    chosen = example()
    if kind == "demonstrations":
        return {"input_ids": list(chosen.token_ids), "labels": list(chosen.labels)}
    n_prompt = chosen.labels.count(IGNORED_LABEL)
    prompt_ids, completion_ids = (
        list(chosen.token_ids[:n_prompt]),
        list(chosen.token_ids[n_prompt:]),
    )
    if kind == "labelled":
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": completion_ids,
            "label": bool(label),
        }
    return {
        "prompt_ids": prompt_ids,
        "chosen_ids": completion_ids,
        "rejected_ids": list(example(rejected=True).token_ids[n_prompt:]),
    }
