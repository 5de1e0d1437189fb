"""What is learned is what is served: the ids of rows, in every format, role and target."""

from collections.abc import Iterator
from typing import Any

import pytest

from db.database import Database
from db.errors import UsageError
from db.tables import Dataset
from serving.formats.library import load_definitions
from serving.formats.render import IGNORED_LABEL, render
from serving.formats.tokenizer import PromptTokenizer
from tests.unit.dataset_lab import Lab
from tests.unit.tokenizer_samples import NAMES, named
from training.datasets.rows import RowTexts, encode_dataset

DEFINITIONS = load_definitions()
FORMS = pytest.mark.parametrize(
    "form", [DEFINITIONS.format("tagged"), DEFINITIONS.format("chat")], ids=["tagged", "chat"]
)
FROM_FILES = {"sources": ["imported"]}


@pytest.fixture(scope="session", params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> PromptTokenizer:
    return named(request)


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def stop_of(form: Any, tokenizer: PromptTokenizer) -> int | None:
    return tokenizer.turn_end_id if form.kind == "chat" else tokenizer.eos_token_id


@FORMS
@pytest.mark.parametrize("role", ["assistant", "translator", "creator", "logician"])
@pytest.mark.parametrize("learned", ["reasoning", "response", "both"])
def test_a_row_begins_with_the_served_ids_and_learns_the_rest(
    lab: Lab, form: Any, role: str, learned: str, tokenizer: PromptTokenizer
) -> None:
    q = lab.question("> 日本で一番高い山は？ <|reasoning|>", role=role, context="Mountains.")
    v = lab.reasoning(q, "You should recall mountains.")
    lab.answer(q, v, "富士山")
    dataset_id = lab.freeze(take=FROM_FILES, targets={role: learned})
    (row,) = encode_dataset(lab.session, dataset_id, "train", form, tokenizer)
    texts = RowTexts(
        system=DEFINITIONS.role(role).system,
        role=role,
        question="> 日本で一番高い山は？ <|reasoning|>",
        context="Mountains.",
        reasoning="You should recall mountains.",
    )
    target: Any = {"reasoning": "reasoning", "response": "answer", "both": "whole"}[learned]
    served = render(form, texts.task(target), texts.fields(target), tokenizer).token_ids
    ids, labels = row["input_ids"], row["labels"]
    assert isinstance(ids, list)
    assert isinstance(labels, list)
    assert tuple(ids[: len(served)]) == served
    assert labels == [IGNORED_LABEL] * len(served) + ids[len(served) :]
    learned_text = tokenizer.decode(ids[len(served) :])
    assert ("富士山" in learned_text) == (learned != "reasoning")
    assert ("recall" in learned_text) == (learned != "response")
    if not (learned == "reasoning" and form.kind == "tagged"):  # that ends by its stop string
        assert ids[-1] == stop_of(form, tokenizer)


@FORMS
@pytest.mark.parametrize("role", ["assistant", "translator", "creator", "logician"])
def test_a_row_without_a_reasoning_begins_with_the_served_ids(
    lab: Lab, form: Any, role: str, tokenizer: PromptTokenizer
) -> None:
    q = lab.question("Why do birds sing?", role=role)
    lab.answer(q, None, "For mates.")
    lab.whole("What else?")
    dataset_id = lab.freeze(take=FROM_FILES, without_reasoning=0.5)
    rows = encode_dataset(lab.session, dataset_id, "train", form, tokenizer)
    texts = RowTexts(system=DEFINITIONS.role(role).system, role=role, question="Why do birds sing?")
    served = list(render(form, "vanilla", texts.fields("answer"), tokenizer).token_ids)
    (found,) = [row for row in rows if row["input_ids"][: len(served)] == served]  # type: ignore[index]
    ids, labels = found["input_ids"], found["labels"]
    assert isinstance(ids, list)
    assert labels == [IGNORED_LABEL] * len(served) + ids[len(served) :]
    assert "For mates." in tokenizer.decode(ids[len(served) :])
    assert ids[-1] == stop_of(form, tokenizer)


@FORMS
def test_one_pass_is_written_as_the_trained_model_would(
    lab: Lab, form: Any, tokenizer: PromptTokenizer
) -> None:
    lab.whole("Why do birds sing?", "You should think of mates.", "For mates.")
    dataset_id = lab.freeze(take=FROM_FILES)
    (row,) = encode_dataset(lab.session, dataset_id, "train", form, tokenizer)
    assert isinstance(row["labels"], list)
    written = [one for one in row["labels"] if one != IGNORED_LABEL]
    text = tokenizer.decode(written)
    between = {"tagged": "\n<|response|>", "chat": "\n### Answer\n"}[form.kind]
    assert f"You should think of mates.{between}For mates." in text


@FORMS
@pytest.mark.parametrize("scope", ["reasoning", "answer", "whole"])
def test_pairs_share_their_prompt_and_end_alike(
    lab: Lab, form: Any, scope: Any, tokenizer: PromptTokenizer
) -> None:
    q, v, a = lab.whole("Why do birds sing?", "You should think of mates.", "For mates.")
    w = lab.reasoning(q, "You should nap.")
    b = lab.answer(q, v if scope == "answer" else w, "They nap.")
    lab.rate(v, over=w) if scope == "reasoning" else lab.rate(a, over=b, scope=scope)
    dataset_id = lab.freeze(kind="dpo")
    (row,) = encode_dataset(lab.session, dataset_id, "train", form, tokenizer)
    assert set(row) == {"prompt_ids", "chosen_ids", "rejected_ids"}
    chosen, rejected = row["chosen_ids"], row["rejected_ids"]
    assert isinstance(chosen, list)
    assert isinstance(rejected, list)
    assert chosen[-1] == rejected[-1]
    assert "mates" in tokenizer.decode(chosen)
    assert "nap" in tokenizer.decode(rejected)


@FORMS
def test_labels_of_single_judgements(lab: Lab, form: Any, tokenizer: PromptTokenizer) -> None:
    _, v, a = lab.whole("Why do birds sing?")
    lab.rate(v, 1, axis="ok"), lab.rate(a, 0, axis="ok", scope="answer")
    dataset_id = lab.freeze(kind="kto")
    encoded = encode_dataset(lab.session, dataset_id, "train", form, tokenizer)
    assert {row["label"] for row in encoded} == {True, False}
    assert all(set(row) == {"prompt_ids", "completion_ids", "label"} for row in encoded)


def test_only_frozen_datasets_are_encoded(lab: Lab, tokenizer: PromptTokenizer) -> None:
    form = DEFINITIONS.format("tagged")
    with pytest.raises(UsageError, match="no dataset 7"):
        encode_dataset(lab.session, 7, "train", form, tokenizer)
    lab.session.add(Dataset(name="open", kind="sft", rules={}))
    lab.session.flush()
    with pytest.raises(UsageError, match="not frozen"):
        encode_dataset(lab.session, 1, "train", form, tokenizer)


def test_the_splits_are_kept_apart(lab: Lab, tokenizer: PromptTokenizer) -> None:
    for letter in "abcdefghij":
        lab.whole(letter * 12)
    dataset_id = lab.freeze(take=FROM_FILES, held_out=0.3)
    form = DEFINITIONS.format("tagged")
    sizes = [
        len(encode_dataset(lab.session, dataset_id, split, form, tokenizer))
        for split in ("train", "held_out")
    ]
    assert sizes == [7, 3]
