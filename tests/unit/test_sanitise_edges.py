"""Without a tokenizer at hand, what common models take for control is broken up as well."""

import pytest

from serving.formats.definitions import PromptFields
from serving.formats.library import load_definitions
from serving.formats.render import render

TAGGED = load_definitions().format("tagged")

CONTROL = [
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
    "<\uff5cUser\uff5c>",
    "<|im_end|>",
    "[|assistant|]",
    "<eoh>",
    "<eoa>",
    "[gMASK]",
    "[INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[/TOOL_RESULTS]",
    "[SYSTEM_PROMPT]",
    "<tool_call>",
    "</tool_response>",
    "</think>",
    "<</SYS>>",
]
PLAIN = [
    "< |im_end| >",
    "<| im_end |>",
    "<｜ two words ｜>",
    "[available_tools]",
    "[TOOLS]",
    "[|x|",
    "<eo>",
    "a <b>bold</b> word, x|y, list[0], [link](there)",
]


@pytest.mark.parametrize("token", CONTROL)
def test_a_control_token_of_a_common_model_gets_a_space(token: str) -> None:
    text = render(TAGGED, "vanilla", PromptFields(system="S", question=f"a{token}b")).text
    assert token not in text
    assert f"a{token[0]} {token[1:]}b" in text


@pytest.mark.parametrize("plain", PLAIN)
def test_what_no_tokenizer_takes_for_control_is_sent_as_it_is(plain: str) -> None:
    text = render(TAGGED, "vanilla", PromptFields(system="S", question=plain)).text
    assert plain in text
