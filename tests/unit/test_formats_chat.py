from pathlib import Path

import pytest
from tokenizers import Tokenizer

from db.errors import UsageError
from serving.formats.chat_template import ChatTemplate
from serving.formats.definitions import Completion, Piece, PromptFields
from serving.formats.library import load_definitions
from serving.formats.render import render, render_example
from serving.formats.tokenizer import PromptTokenizer
from tests.unit.tokenizer_samples import EMBEDDED, NAMES, PHI3, named, small

CHAT = load_definitions().format("chat")
TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}"
TOKENS = (("bos_token", "<s>"),)


@pytest.fixture(scope="session", params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> PromptTokenizer:
    return named(request)


@pytest.fixture(scope="session")
def content(embedded_model: Path) -> bytes:
    return small(embedded_model)


def with_template(content: bytes, source: str, bos_token: str = "<|endoftext|>") -> PromptTokenizer:
    return PromptTokenizer(content, {"bos_token": bos_token, "eos_token": "<|im_end|>"}, source)


def pieces(source: str, *, with_system: bool = True) -> str:
    template = ChatTemplate(source, TOKENS)
    found = template.pieces("Say: {question}", with_system=with_system)
    return "".join(f"[{piece.text}]" if piece.is_field else piece.text for piece in found)


def test_the_parts_of_a_conversation_are_told_from_the_texts_in_it() -> None:
    found = ChatTemplate("{{ bos_token }}" + TURNS, TOKENS).pieces("{question}", with_system=True)
    assert found == (
        Piece("<s><|im_start|>system\n", is_field=False),
        Piece("system", is_field=True),
        Piece("<|im_end|>\n<|im_start|>user\n", is_field=False),
        Piece("question", is_field=True),
        Piece("<|im_end|>\n<|im_start|>assistant\n", is_field=False),
    )


def test_the_system_text_heads_the_users_turn_where_the_template_refuses_it() -> None:
    assert pieces(NO_SYSTEM + TURNS) == (
        "<|im_start|>user\n[system]\n\nSay: [question]<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_system_text_heads_the_users_turn_where_the_template_drops_it() -> None:
    dropping = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    assert pieces(dropping) == "[system]\n\nSay: [question]"
    assert pieces(dropping, with_system=False) == "Say: [question]"


def test_templates_may_use_what_their_authors_are_used_to() -> None:
    source = (
        "{% for m in messages %}{% if loop.index > 9 %}{% break %}{% endif %}"
        "{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
        "{{ strftime_now('%Y') }}{{ {'a': 'ü'} | tojson }}"
    )
    assert pieces(source, with_system=False) == 'Say: [question]2024{"a": "ü"}'


def test_a_template_cannot_reach_out_of_its_sandbox() -> None:
    with pytest.raises(UsageError, match="chat template fails"):
        pieces("{{ messages.__class__.__mro__ }}{{ messages[0]['content'] }}", with_system=False)


@pytest.mark.parametrize("source", ["{{ raise_exception('Never') }}", "{% if %}", "{{ 1 + 'a' }}"])
def test_a_template_that_fails_is_named_with_its_words(source: str) -> None:
    with pytest.raises(UsageError, match="chat template fails"):
        pieces(source)


def test_a_template_that_leaves_out_the_user_is_refused() -> None:
    with pytest.raises(UsageError, match="leaves out the user's question"):
        pieces("Hello")


def test_a_conversation_has_the_ids_that_the_models_own_tokenizer_gives(
    request: pytest.FixtureRequest, tokenizer: PromptTokenizer, embedded_model: Path
) -> None:
    name = request.node.callspec.params["tokenizer"]
    folder = embedded_model if name == EMBEDDED else PHI3
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for question in ("What is high?", "日本で一番高い山は？", "> a <b>"):
        fields = PromptFields(system="You help.", question=question)
        prompt = render(CHAT, "vanilla", fields, tokenizer)
        assert list(prompt.token_ids) == own.encode(prompt.text).ids


def test_the_system_text_is_kept_by_every_model(tokenizer: PromptTokenizer) -> None:
    fields = PromptFields(system="You are a bird.", question="Who?")
    assert "You are a bird." in render(CHAT, "vanilla", fields, tokenizer).text


def test_a_question_without_context_says_nothing_of_one(tokenizer: PromptTokenizer) -> None:
    fields = PromptFields(system="S", question="Q")
    assert "context" not in render(CHAT, "reasoning", fields, tokenizer).text


@pytest.mark.parametrize("written", [0, 1, 2])
def test_one_bos_begins_the_prompt_however_many_the_template_writes(
    content: bytes, written: int
) -> None:
    tokenizer = with_template(content, "{{ bos_token }}" * written + TURNS)
    prompt = render(CHAT, "vanilla", PromptFields(system="S", question="Q"), tokenizer)
    assert prompt.token_ids.count(0) == 1
    assert prompt.token_ids[:2] == (0, 1)
    assert prompt.text.startswith("<|endoftext|><|im_start|>system\nS<|im_end|>")


def test_a_model_without_bos_gets_none(content: bytes) -> None:
    tokenizer = PromptTokenizer(content, {"eos_token": "<|im_end|>"}, TURNS)
    prompt = render(CHAT, "vanilla", PromptFields(system="S", question="Q"), tokenizer)
    assert tokenizer.bos_token_id is None
    assert tokenizer.decode(prompt.token_ids) == prompt.text


def test_a_template_that_trims_leaves_peoples_texts_as_they_are(content: bytes) -> None:
    tokenizer = with_template(content, TURNS)
    prompt = render(CHAT, "vanilla", PromptFields(system=" S ", question="\tQ "), tokenizer)
    assert "system\n S <|im_end|>" in prompt.text
    assert "user\n\tQ <|im_end|>" in prompt.text


def test_a_turn_ends_with_the_first_control_token_after_it_or_with_the_text(content: bytes) -> None:
    ends_otherwise = TURNS.replace("<|im_end|>", "<file_sep>")
    tokenizer = with_template(content, ends_otherwise)
    assert tokenizer.turn_end_id == tokenizer.control_tokens["<file_sep>"]
    fields = PromptFields(system="S", question="Q")
    example = render_example(CHAT, "vanilla", fields, Completion(response="A"), tokenizer)
    assert example.token_ids[-1] == tokenizer.turn_end_id
    assert with_template(content, NO_SYSTEM + "{{ messages[1].x }}").turn_end_id == 2
