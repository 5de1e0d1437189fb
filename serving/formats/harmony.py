"""Texts with the channels of harmony, the format of gpt-oss: analysis is reasoning."""

import re
from dataclasses import dataclass

ANALYSIS, FINAL = "analysis", "final"
"""Channels whose texts are a reasoning and an answer."""
_MESSAGE = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w+)(?P<more>[^<]*(?:<\|constrain\|>[^<]*)?)<\|message\|>"
    r"(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_BETWEEN = re.compile(r"<\|start\|>\s*assistant|<\|(?:end|return)\|>|\s+")
_WITHOUT_TOKENS = re.compile(
    r"analysis(?=[^\s:])(?P<analysis>.*?)assistantfinal(?P<final>.*)", re.DOTALL
)
"""What is left where a server wrote the text without its special tokens."""


@dataclass(frozen=True, slots=True)
class HarmonyMessages:
    """The messages of one turn, by channel."""

    analysis: tuple[str, ...]
    final: tuple[str, ...]
    problem: str | None = None
    """What else the text holds, in words."""


def harmony_messages(text: str) -> HarmonyMessages | None:
    """Return the messages of a text that is written in harmony; None where it is not."""
    text = text.strip()
    if text.startswith("analysis") and (found := _WITHOUT_TOKENS.fullmatch(text)):
        return HarmonyMessages((found["analysis"],), (found["final"],))
    if not text.startswith(("<|channel|>", "<|start|>assistant")):
        return None
    messages = list(_MESSAGE.finditer(text))
    if not messages:
        return None
    by_channel = {
        channel: tuple(one["text"] for one in messages if one["channel"] == channel)
        for channel in (ANALYSIS, FINAL)
    }
    others = [one["channel"] for one in messages if one["channel"] not in by_channel]
    rest = _BETWEEN.sub("", _MESSAGE.sub("", text))
    problem = f"holds a message on the channel {others[0]!r}" if others else None
    if rest and problem is None:
        problem = "holds text outside its channels"
    return HarmonyMessages(by_channel[ANALYSIS], by_channel[FINAL], problem)
