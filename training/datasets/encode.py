"""Rows of a frozen dataset as token ids, for the trainers: what is learned is what is served."""

from typing import Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.tables import Dataset, DatasetRow
from serving.formats.definitions import FormatDefinition, PromptError
from serving.formats.library import form_for
from serving.formats.render import IGNORED_LABEL, TrainingExample, render_example
from serving.formats.tokenizer import PromptTokenizer
from training.datasets.payload import RowTexts, Target
from training.methods import ROW_KINDS, RowKind

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
) -> list[EncodedRow]:
    """Return the rows of one split of a frozen dataset as token ids, in its order.

    Raises:
        UsageError: There is no such dataset, it is not frozen, or a row cannot be rendered in
            this format; the sentence names the row.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise UsageError(f"There is no dataset {dataset_id}; `q2q dataset show` lists them all.")
    if dataset.content_hash is None:
        raise UsageError(f"The dataset {dataset.name} is not frozen; build it again.")
    kind = ROW_KINDS[dataset.kind]
    rows = session.execute(
        select(DatasetRow.position, DatasetRow.target, DatasetRow.label, DatasetRow.payload)
        .where(DatasetRow.dataset_id == dataset_id, DatasetRow.split == split)
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
            raise UsageError(f"Row {position} of the dataset {dataset.name}: {error}") from error
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
