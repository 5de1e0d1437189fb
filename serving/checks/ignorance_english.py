# ruff: noqa: E501  # a pattern is read best on one line
"""Sentences that say "I don't know" in English: tables of phrases, put together into a few patterns.

Every pattern is for a sentence in lower case with straight apostrophes.
"""

import re


def _any(*phrases: str) -> str:
    return f"(?:{'|'.join(phrases)})"


_OPENER = _any(
    r"well|hm+|oh|ah|um|(?:so )?sorry|(?:my )?apologies|i apologi[sz]e(?: for [^,.]{3,40})?",
    r"(?:i'm|i am) (?:very |so |really |truly )?(?:sorry|afraid)",
    r"unfortunately|regrettably|honestly|frankly|actually|to be (?:honest|frank)",
    r"currently|right now|at (?:the moment|present|this (?:time|moment|point))",
    r"as (?:an?|of) [^,.]{2,40}|based on [^,]{3,60}|from (?:the|this) [^,]{3,40}",
    r"(?:that's |that is |this is )?an? (?:very |really )?"
    r"(?:good|great|tough|hard|difficult|interesting|tricky) question",
    r"thank(?:s| you)[^,.!]{0,40}|(?:answer|response)(?=:)",
    r"(?:i|we) (?:cannot|can't|do not|don't|am not|have no) [^,.;]{2,60}, so",
)
_START = rf"^(?:{_OPENER}(?: that)?[,.:;!…-]* +(?:but +)?)*"
_I = (
    r"(?:i|we)(?:'m| am|'re| are)?(?: (?:really|simply|just|honestly|quite|also|actually|still|truly"
    r"|currently|personally|genuinely|absolutely|unfortunately))* "
)

_FACT = (
    r"(?:answers?|details?|facts?|information|numbers?|dates?|names?|reasons?|years?|outcomes?"
    r"|results?|future|locations?|amounts?|meanings?|weather|prices?|causes?|identity)\b"
)
_KNOWLEDGE = r"(?:information|knowledge|data|details|context|answers?|idea|clue)\b"
_SOURCE = (
    r"(?:information|data|news|internet|web|records?|databases?|calendar|location|weather|schedule"
    r"|files?|e-?mails?|account|details|updates|that|this|it)\b"
)
_ABOUT = (
    r"(?=$|[.!?;,:]"
    r"| (?:who|whose|whom|which|how|what|when|where|whether)\b"
    r"(?! to (?!answer|help|respond|reply|say|find))(?! i(?:'d| would)\b)"
    r"| (?:if|because|since|without|from|based|exactly|either|at all|yet|at (?:this|the))\b"
    r"| (?:about|of)\b(?! (?:you|others|them|yours?)\b)"
    r"| for (?:sure|certain)\b| i (?:can|know|have)\b"
    r"| (?:that|this|it)\b(?! (?:i|he|she|we|they|you|it|the|an?|is|was|will|would|there)\b)"
    rf"| (?:the|an?|any|its|his|her|their|your|my) (?:[\w'-]+ ){{0,3}}?{_FACT})"
)
"""What may follow: the end, or what it is that is not known; "how to swim" is no such thing."""

_NOT = r"(?:do not|don't|dont)"
_CANNOT = r"(?:cannot|can't|cant|can not|could not|couldn't|am unable to|unable to|not able to)"

_PERSON = _any(
    rf"(?:{_NOT}|would not|wouldn't) know(?: enough| much| anything| of any)?{_ABOUT}",
    rf"not (?:entirely |really |quite |completely |at all |too |very )?(?:sure|certain){_ABOUT}",
    rf"(?:unsure|uncertain){_ABOUT}",
    rf"(?:have no|haven't (?:a|any|the (?:faintest|slightest|foggiest))) (?:idea|clue){_ABOUT}",
    rf"{_CANNOT} (?:really )?(?:answer|say|know|determine|predict|confirm|verify){_ABOUT}",
    rf"{_CANNOT} (?:really )?tell(?! you how)(?: you)?{_ABOUT}",
    rf"{_CANNOT} (?:provide|give|offer|find)(?: you)? (?:[\w'-]+ ){{0,4}}?{_FACT}",
    rf"(?:{_NOT} (?:have|possess)|have no|lack) (?:[\w'-]+ ){{0,4}}?{_KNOWLEDGE}",
    rf"(?:{_NOT} have|have no) access to (?:[\w'-]+ ){{0,4}}?{_SOURCE}",
    r"have no way (?:of knowing|to (?:know|tell))\b",
    r"not familiar with\b|have never heard of\b",
)
_NOBODY = _any(
    r"(?:no ?one|no-one|nobody) (?:really )?(?:knows|can (?:really )?(?:know|say|tell))"
    rf"(?: (?:what|how|who|when|where|whether|if|why)\b(?! to\b)|{_ABOUT})",
    r"(?:it is|it's|this is|that is|that's|the answer (?:is|remains)|this (?:is|remains))"
    r" (?:currently |still )?(?:not known|unknown|unclear)"
    r"(?=$|[.!,;]| (?:who|what|when|where|which|how|why|if|whether|exactly|yet|at|from|to (?:me|us))"
    r"\b)",
    r"the (?:exact|precise|true|actual) [^,.;]{2,40} (?:is|are) (?:not known|unknown)(?=$|[.!])",
    rf"(?:it is|it's|that is|that's) (?:impossible|not possible) to (?:know|say|tell|determine){_ABOUT}",
    rf"(?:there is|there's) no (?:way to (?:know|tell|say|determine){_ABOUT}|way of knowing)",
    r"(?:the answer|it|this|that) (?:cannot|can't|can not) be (?:known|determined|answered)",
    r"(?:there is|there's) (?:not enough|insufficient) information",
    r"(?:there is|there's) no information(?=$|[.!,;]| (?:about|on|in|available|given|provided|regarding)\b)",
    r"the (?:given |provided )?(?:text|passage|context|question|document|article)"
    r" (?:does not|doesn't) (?:provide|give|contain|include|have) (?:[\w'-]+ ){0,4}?" + _KNOWLEDGE,
)
_STATEMENT = re.compile(f"{_START}(?:{_I}{_PERSON}|{_NOBODY})")

_QUESTION_WORDS = r"(?:about|what|who|how|why|when|where|which|if|whether)"
_WHOLE = re.compile(
    _START
    + _any(
        rf"no (?:idea|clue)(?: at all| {_QUESTION_WORDS}\b[^.;:]*)?",
        rf"not (?:sure|certain)(?: at all| {_QUESTION_WORDS}\b[^.;:]*)?",
        rf"dunno|idk|{_NOT} know|beats me|who knows|unknown|unclear|not known|undetermined",
        r"your guess is as good as mine",
        r"(?:it's |it is )?(?:hard|difficult|tough|impossible) to (?:say|know|tell)"
        r"(?: (?:for sure|for certain|exactly))?",
        rf"{_CANNOT} (?:say|tell|answer|determine)(?: (?:this|that|it|the)(?: question| answer)?)?",
        r"(?:cannot|can't) be (?:determined|known|answered)(?: (?:from|with|without|for|by)\b.*)?",
        r"(?:not enough|insufficient|no) (?:information|data|context)"
        r"(?: (?:is |was )?(?:available|given|provided)| to (?:answer|say|tell|determine)\b.*)?",
    )
    + r",?(?: sorry)?[.!?…]*$"
)
"""A whole sentence of a few words, without a subject."""

_WHY = re.compile(f"{_START}{_I}(?:{_NOT} know|not sure|have no idea) why\\b[^,;:—]*$")
"""Only as the last thing said: "I don't know why people doubt it; it is …" is an answer."""

_HELP = _any(
    r"you (?:can|could|may|might|should)|please|let me|feel free|ask|try|check|if you|thank",
    r"(?:maybe|perhaps) you|we (?:can|could)|someone|it (?:might|may|would) (?:be|help)",
    r"i(?:'d| would|'ll| will|'m| am| can| could)"
    r" (?:still |also |certainly |be )*(?:happy|glad|help|try|look|find|suggest|recommend|love|like)",
)
_BUT = r"(?:but|however|though|nevertheless|that said|even so)"
_GUESS = r"(?:maybe|perhaps|probably|possibly|i think|i guess|i believe|i'd guess|my guess)"
_GOES_ON = re.compile(
    rf"\b{_BUT}\b,? (?!{_HELP}\b)|[,;:—-] *(?!{_HELP}\b){_GUESS}\b|^(?!{_HELP}\b)(?:{_GUESS}|still)\b"
)
"""An answer after all: "but it is …", "maybe five"; "but you could ask …" is none."""


def admits_in_english(sentence: str, after: str) -> bool:
    """Tell whether ``sentence``, with the next one ``after`` it, says "I don't know"."""
    plain = _plain(sentence)
    found = _STATEMENT.search(plain) or _WHOLE.search(plain)
    if not found:
        return not after and _WHY.search(plain) is not None
    return not (_GOES_ON.search(plain[found.end() :]) or _begins_answer(_plain(after)))


def _begins_answer(after: str) -> bool:
    found = _GOES_ON.search(after)
    return found is not None and found.start() == 0


def _plain(sentence: str) -> str:
    return " ".join(sentence.replace("’", "'").lower().split())
