"""Whether an answer says "I don't know": the rule that English, Japanese and Chinese share.

Only a statement about the question counts: it makes up its sentence, and the sentence is one of the
first two or the text is short. "I don't know why people …; it is …" is an answer, and so is "I
don't know. However, …". What other people do not know is not looked for.
"""

from serving.checks.ignorance_chinese import admits_in_chinese
from serving.checks.ignorance_english import admits_in_english
from serving.checks.ignorance_japanese import admits_in_japanese

_SHORT_TEXT = 3
"""Sentences; in a text of at most so many, each sentence may be the one that says it."""

_QUOTES = {"“": "”", "「": "」", "『": "』", '"': '"', "(": ")", "（": "）"}


def ignorance(text: str, sentences: list[str]) -> str | None:
    """Return the sentence in which an answer says that it does not know; None if there is none.

    ``sentences`` are those of ``text``.
    """
    if len(sentences) == 1:
        sentences = [_unquoted(text.strip())]
    n_looked_at = len(sentences) if len(sentences) <= _SHORT_TEXT else 2
    following = [*sentences[1:], ""]
    for sentence, after in list(zip(sentences, following, strict=True))[:n_looked_at]:
        if _admits(sentence, after):
            return sentence[:80]
    return None


def _admits(sentence: str, after: str) -> bool:
    if admits_in_english(sentence, after):
        return True
    return not sentence.isascii() and (
        admits_in_japanese(sentence, after) or admits_in_chinese(sentence, after)
    )


def _unquoted(text: str) -> str:
    """Return an answer that stands in quotes as a whole without them."""
    closing = _QUOTES.get(text[:1])
    if closing is None or not text.endswith(closing):
        return text
    inner = text[1:-1]
    return text if text[0] in inner or closing in inner else inner
