import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from db.errors import UsageError
from serving.formats.sanitise import sendable
from serving.formats.tokenizer import REMEMBERED_TEXTS, PromptTokenizer
from tests.unit.tokenizer_samples import (
    HOSTILE,
    NAMES,
    PHI3,
    PHI3_VECTORS,
    load,
    named,
    small,
    texts,
)


@pytest.fixture(scope="session", params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> PromptTokenizer:
    return named(request)


@pytest.fixture(scope="session")
def embedded_json(embedded_model: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(small(embedded_model))
    return content


def made_from(content: dict[str, Any], **config: Any) -> PromptTokenizer:
    return PromptTokenizer(json.dumps(content).encode(), config)


def read(tokenizer: PromptTokenizer, text: str, *, first: bool = False) -> str:
    return tokenizer.read([text], first=first)[0].text


def unigram(prepend_scheme: str) -> dict[str, Any]:
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    pieces += [("\u2581", -3.0), ("\u2581so", -2.0), ("so", -2.5), ("s", -4.0), ("o", -4.0)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    made.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=prepend_scheme)]
    )
    content: dict[str, Any] = json.loads(made.to_str())
    return content


def test_the_embedded_model_begins_and_ends_with_its_own_tokens(embedded_model: Path) -> None:
    tokenizer = load(embedded_model)
    assert tokenizer.bos_token == "<|im_start|>"
    assert tokenizer.bos_token_id == 1
    assert tokenizer.eos_token_id == tokenizer.turn_end_id == 2
    assert not tokenizer.adds_bos
    assert {0, 1, 2} <= tokenizer.control_ids


def test_text_alone_is_encoded_as_published() -> None:
    if "phi3" not in NAMES:
        return
    separated = (PHI3_VECTORS / "inputs.txt").read_text("utf-8")
    inputs = separated.split("\n__ggml_vocab_test__\n")[:46]
    expected = (PHI3_VECTORS / "ids.txt").read_text("utf-8").split("\n")[:46]
    tokenizer = load(PHI3)
    for text, line in zip(inputs, expected, strict=True):
        assert tokenizer.encode_untrusted(text, first=True) == [int(i) for i in line.split()]


def test_a_text_after_others_gets_no_space_of_its_own(tokenizer: PromptTokenizer) -> None:
    ids = [
        *tokenizer.encode_trusted("<|instruction|>", first=True),
        *tokenizer.encode_untrusted("Hello"),
        *tokenizer.encode_trusted("\n<|context|>", first=False),
    ]
    assert tokenizer.decode(ids) == "<|instruction|>Hello\n<|context|>"


def test_a_text_is_encoded_the_same_whatever_others_stand_in_the_batch(
    tokenizer: PromptTokenizer,
) -> None:
    alone = [tokenizer.encode_untrusted(text) for text in HOSTILE]
    assert tokenizer.encode_untrusted_batch(HOSTILE) == alone


@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_no_text_yields_a_control_token(tokenizer: PromptTokenizer, text: str) -> None:
    for first in (True, False):
        assert tokenizer.control_ids.isdisjoint(tokenizer.encode_untrusted(text, first=first))


def test_control_tokens_written_by_people_stay_text(tokenizer: PromptTokenizer) -> None:
    for written in tokenizer.control_tokens:
        ids = tokenizer.encode_untrusted(f"a{written}b{written}")
        assert tokenizer.control_ids.isdisjoint(ids)
        assert tokenizer.decode(ids, first=False) == f"a{written}b{written}"


def test_control_tokens_written_by_a_template_are_control_tokens(
    tokenizer: PromptTokenizer,
) -> None:
    for first in (True, False):
        for written, index in tokenizer.control_tokens.items():
            assert tokenizer.encode_trusted(written, first=first) == (index,)
            assert index in tokenizer.encode_trusted(f"Now{written}then", first=first)


@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_what_ids_stand_for_is_stable_and_mostly_the_text(
    tokenizer: PromptTokenizer, text: str
) -> None:
    text = sendable(text)
    for first in (True, False):
        seen = read(tokenizer, text, first=first)
        ids = tokenizer.encode_untrusted(seen, first=first)
        assert tokenizer.decode(ids, first=first) == read(tokenizer, seen, first=first)
        if "\u2581" not in text and max(map(ord, text), default=0) < 0x40000:
            assert seen == text


def test_decoding_shows_control_tokens_and_the_texts_between_them(
    tokenizer: PromptTokenizer,
) -> None:
    written = next(iter(tokenizer.control_tokens))
    assert tokenizer.bos_token_id is not None
    ids = [
        tokenizer.bos_token_id,
        *tokenizer.encode_trusted("You", first=True),
        tokenizer.control_tokens[written],
        *tokenizer.encode_untrusted("so", first=tokenizer.restarts_after_control),
    ]
    assert tokenizer.decode(ids) == f"{tokenizer.bos_token}You{written}so"


def test_texts_remembered_are_bounded(embedded_json: dict[str, Any]) -> None:
    tokenizer = made_from(embedded_json)
    tokenizer.read([str(number) for number in range(3 * REMEMBERED_TEXTS)], first=False)
    tokenizer.read(["x" * 5000], first=False)
    assert len(tokenizer._readings) <= REMEMBERED_TEXTS
    assert ("x" * 5000, False) not in tokenizer._readings


def test_a_vocabulary_that_normalises_cannot_be_led_to_a_control_token(
    embedded_json: dict[str, Any],
) -> None:
    tokenizer = made_from(embedded_json | {"normalizer": {"type": "NFKC"}})
    ids = tokenizer.encode_untrusted("＜|im_end|＞")
    assert tokenizer.control_ids.isdisjoint(ids)
    assert read(tokenizer, "＜|im_end|＞") == "<|im_end|>"


def test_a_token_named_as_end_of_text_is_a_control_token_though_it_was_not_added(
    embedded_json: dict[str, Any],
) -> None:
    kept = [token for token in embedded_json["added_tokens"] if token["content"] != "<|im_end|>"]
    tokenizer = made_from(embedded_json | {"added_tokens": kept}, eos_token="<|im_end|>")
    assert tokenizer.eos_token_id in tokenizer.control_ids
    assert 2 not in tokenizer.encode_untrusted("<|im_end|>")


def test_words_added_to_a_vocabulary_are_ordinary(embedded_json: dict[str, Any]) -> None:
    word = {
        "id": 3000,
        "content": "富士山",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": False,
    }
    added = [*embedded_json["added_tokens"], word]
    tokenizer = made_from(embedded_json | {"added_tokens": added})
    assert tokenizer.encode_untrusted("富士山") == [3000]
    assert 3000 not in tokenizer.control_ids
    assert tokenizer.decode([3000]) == "富士山"


@pytest.mark.parametrize(("scheme", "restarts"), [("always", True), ("first", False)])
def test_a_unigram_vocabulary_keeps_the_same_promises(scheme: str, restarts: bool) -> None:
    tokenizer = made_from(unigram(scheme), bos_token="<s>", eos_token="</s>")
    assert tokenizer.control_ids.isdisjoint(tokenizer.encode_untrusted("so</s><s>so"))
    assert tokenizer.encode_untrusted("so", first=True) != tokenizer.encode_untrusted("so")
    assert tokenizer.restarts_after_control is restarts
    for first in (True, False):
        for text in ("so", "so so", "", "\n", "日</s>"):
            assert read(tokenizer, text, first=first) == text
    assert read(tokenizer, " so", first=False) == " so"
    assert read(tokenizer, " so", first=True) == "so", "its own space and that of the text are one"


def test_equal_hashes_need_equal_files() -> None:
    content = json.dumps(unigram("first")).encode()
    plain = PromptTokenizer(content, {"eos_token": "</s>"})
    assert PromptTokenizer(content, {"eos_token": "</s>"}).content_hash == plain.content_hash
    assert PromptTokenizer(content, {}).content_hash != plain.content_hash
    assert PromptTokenizer(content, {}, "{{ 1 }}").content_hash != plain.content_hash


def folder_of(
    tmp_path: Path, tokenizer: str | None, config: str | None, template: str | None = None
) -> Path:
    files = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": config,
        "chat_template.jinja": template,
    }
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_text(content, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "template",
    ["in the configuration", [{"name": "default", "template": "in the configuration"}]],
)
def test_the_chat_template_is_found_where_models_keep_it(tmp_path: Path, template: object) -> None:
    content, config = json.dumps(unigram("first")), json.dumps({"chat_template": template})
    tokenizer = PromptTokenizer.load(folder_of(tmp_path, content, config))
    assert tokenizer.chat_template is not None
    assert tokenizer.chat_template.source == "in the configuration"
    tokenizer = PromptTokenizer.load(folder_of(tmp_path, content, config, "in its own file"))
    assert tokenizer.chat_template is not None
    assert tokenizer.chat_template.source == "in its own file"


def test_a_model_may_have_no_chat_template() -> None:
    assert made_from(unigram("first")).chat_template is None


def test_special_tokens_may_be_objects_in_the_configuration() -> None:
    tokenizer = made_from(unigram("first"), bos_token={"content": "<s>", "lstrip": False})
    assert tokenizer.bos_token_id == 1


def test_the_configuration_says_whether_a_tokenizer_adds_bos() -> None:
    assert made_from(unigram("first"), bos_token="<s>", add_bos_token=True).adds_bos
    assert not made_from(unigram("first"), bos_token="<s>").adds_bos
    assert not made_from(unigram("first"), add_bos_token=True).adds_bos


@pytest.mark.parametrize(
    ("tokenizer", "config", "words"),
    [
        (None, "{}", ["tokenizer.json", "save_pretrained"]),
        ("{}", None, ["tokenizer_config.json"]),
        ("{}", "[]", ["tokenizer_config.json", "object"]),
        ("{}", "{", ["tokenizer_config.json", "JSON"]),
        ("{", "{}", ["tokenizer.json"]),
        ('{"model": {"type": "WordLevel"}}', "{}", ["tokenizer.json"]),
    ],
)
def test_a_folder_that_cannot_be_used_is_named_with_its_file(
    tmp_path: Path, tokenizer: str | None, config: str | None, words: list[str]
) -> None:
    with pytest.raises(UsageError) as refused:
        PromptTokenizer.load(folder_of(tmp_path, tokenizer, config))
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


def test_prompts_are_rendered_without_torch_or_transformers() -> None:
    code = (
        "import sys, serving.formats.render, serving.formats.library, serving.formats.parse;"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
