"""Whether a server read less of a prompt than was sent: some cut it without a word."""

import re
from collections.abc import Sequence

from serving.engines.messages import Prompt
from serving.words import UNSPACED

_WORD = re.compile(r"\S+")
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}\uac00-\ud7af]")
_LEAST_WORDS = 64
"""Shorter prompts fit every context; an odd count says nothing there."""


def least_tokens(prompt: Prompt) -> int:
    """Return how many tokens a prompt has at least: exact for ids, a safe bound for text.

    Tokenizers split at spaces, so that words are no more than tokens; those few that join words
    save less than a quarter. Of scripts without spaces a token holds hardly ever four characters.
    """
    if not isinstance(prompt, str):
        return len(prompt)
    n_unspaced = len(_UNSPACED_LETTER.findall(prompt))
    n_words = len(_WORD.findall(_UNSPACED_LETTER.sub(" ", prompt)))
    least = n_words * 3 // 4 + n_unspaced // 4
    return least if least >= _LEAST_WORDS else 0


def cut_problem(prompts: Sequence[Prompt], told: object) -> str | None:
    """Say that a server read fewer tokens than ``prompts`` have together; None if it did not.

    ``told`` is its count; anything but a positive number says nothing.
    """
    if not isinstance(told, int) or isinstance(told, bool) or told <= 0:
        return None
    least = sum(map(least_tokens, prompts))
    if told >= least:
        return None
    about = "" if all(not isinstance(prompt, str) for prompt in prompts) else "at least "
    return f"the server read {told:,} tokens of a prompt of {about}{least:,}"
