"""Which language a text is in: by its scripts, and for Latin script by its small words.

Made for precision: where it cannot tell, it says None and no check fires.
"""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from serving.checks.text import WORD_LISTS, CheckContext, CheckedText
from serving.words import HAN, KANA

_SCRIPTS = {
    "ko": re.compile("[\uac00-\ud7af]"),
    "ru": re.compile("[\u0400-\u04ff]"),
    "ar": re.compile("[\u0600-\u06ff]"),
    "el": re.compile("[\u0370-\u03ff]"),
    "he": re.compile("[\u0590-\u05ff]"),
    "th": re.compile("[\u0e00-\u0e7f]"),
    "hi": re.compile("[\u0900-\u097f]"),
    "bn": re.compile("[\u0980-\u09ff]"),
    "ta": re.compile("[\u0b80-\u0bff]"),
    "te": re.compile("[\u0c00-\u0c7f]"),
    "lo": re.compile("[\u0e80-\u0eff]"),
    "my": re.compile("[\u1000-\u109f]"),
    "km": re.compile("[\u1780-\u17ff]"),
}
_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile(f"[{KANA}]")
_CJK_RUN = re.compile(f"[{HAN}{KANA}]+")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_LATIN_WORD = re.compile("[a-z\u00e0-\u024f]+")
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)

_CJK_WEIGHT = 2.5
"""A Han character or kana says as much as about two and a half Latin letters."""
_KANA_SHARE_OF_JAPANESE = 0.08
_FOREIGN_SHARE = 0.3
_LONGEST_LOOK = 4_000

# Characters that Chinese sentences hold and Japanese ones do not.
_CHINESE = re.compile(
    "[们这说么吗呢吧你她它很让还对为请谁个时间东车书长门问题关从实现发开过应该给們嗎麼這]"
)
_CHINESE_SMALL = re.compile("[的是了在我不和有也都就]")
# A name or a term of Japanese is often kanji alone (量子力学的不確定性), a whole sentence never.
_CJK_SENTENCE = re.compile("[。，！？；]")

_CODE_SIGN = re.compile(r"[(){}\[\];=<>*/\\^_$#|&+]")
_CODE_SHARE = 0.06
"""A line with this share of signs is code or a formula."""
_WORD = re.compile(r"[^\W\d_][\w’'-]*")
SMALL_WORDS: dict[str, frozenset[str]] = {
    code: frozenset(words.split()) for code, words in WORD_LISTS["small"].items()
}
"""ISO 639-1 code → the small words of a language in Latin script."""
_ALL_SMALL_WORDS = frozenset[str]().union(*SMALL_WORDS.values())
_LANGUAGES_OF = {
    word: [code for code, small in SMALL_WORDS.items() if word in small]
    for word in _ALL_SMALL_WORDS
}
_MAX_TITLE_WORDS = 12
_LONGEST_TITLE = 200
"""Characters that are looked at; a title is over by then."""

KNOWN = frozenset(SMALL_WORDS) | frozenset(_SCRIPTS) | {"ja", "zh"}
"""ISO 639-1 codes that ``detect_language`` can return."""

_NAMES = {
    "en": r"\bEnglish\b|英語|英文|英訳|英语|英語",
    "ja": r"\bJapanese\b|日本語|和訳|日语|日語|日文",
    "zh": r"\b(?:Chinese|Mandarin)\b|中国語|中文|汉语|漢語|普通话",
    "fr": r"\bFrench\b|フランス語|法语|法文",
    "de": r"\bGerman\b|ドイツ語|德语|德文",
    "es": r"\bSpanish\b|スペイン語|西班牙",
    "it": r"\bItalian\b|イタリア語|意大利语",
    "pt": r"\bPortuguese\b|ポルトガル語|葡萄牙语",
    "nl": r"\bDutch\b|オランダ語|荷兰语",
    "ko": r"\bKorean\b|韓国語|ハングル|韩语|韩文",
    "ru": r"\bRussian\b|ロシア語|俄语",
    "ar": r"\bArabic\b|アラビア語|阿拉伯语",
    "": r"\b(?:Latin|Greek|Hebrew|Hindi|Bengali|Tamil|Telugu|Lao|Burmese|Khmer"
    r"|Thai|Vietnamese|Turkish|Polish|Swedish|Esperanto)\b"
    r"|(?i:\btranslat)|翻訳|訳して|外国語|翻译|翻譯|外语",
}
_NAME = {code: re.compile(pattern) for code, pattern in _NAMES.items()}


def detect_language(text: str) -> str | None:
    """Return the ISO 639-1 code of the language that most of ``text`` is in; None if unclear."""
    prose = text[:_LONGEST_LOOK]
    if "`" in prose or "http" in prose:
        prose = _NOT_PROSE.sub(" ", prose)
    if _CODE_SIGN.search(prose):
        prose = "\n".join(line for line in prose.splitlines() if not _is_code(line))
    if prose.isascii():
        return _latin_language(prose)
    prose = unicodedata.normalize("NFC", prose)
    n_kana, n_han = len(_KANA.findall(prose)), len(_HAN.findall(prose))
    weights = {code: 2.0 * len(script.findall(prose)) for code, script in _SCRIPTS.items()}
    weights["cjk"] = _CJK_WEIGHT * (n_kana + n_han)
    weights["latin"] = float(len(_LATIN.findall(prose)))
    most = max(weights, key=weights.__getitem__)
    if weights[most] * 2 <= sum(weights.values()):
        return None
    if most == "latin":
        return _latin_language(prose)
    if most == "cjk":
        return _cjk_language(prose, n_kana, n_han)
    return most if weights[most] >= 6 else None


def _is_code(line: str) -> bool:
    return len(_CODE_SIGN.findall(line)) > _CODE_SHARE * len(line)


def _latin_language(prose: str) -> str | None:
    if _is_title(prose):
        return None
    words = set(_LATIN_WORD.findall(prose.lower()))
    hits = Counter(code for word in words & _ALL_SMALL_WORDS for code in _LANGUAGES_OF[word])
    (best, n_best), (_, n_next) = (*hits.most_common(2), *[("", 0)] * 2)[:2]
    if n_best < 2 or n_best == n_next or n_best * 12 < len(words):
        return None
    return best


def _is_title(prose: str) -> bool:
    """Whether ``prose`` is names alone ("The Lord of the Rings"), which every language uses."""
    words = _WORD.findall(prose[:_LONGEST_TITLE])
    if len(words) > _MAX_TITLE_WORDS:
        return False
    return all(word[0].isupper() or word in _ALL_SMALL_WORDS for word in words[1:])


def _cjk_language(prose: str, n_kana: int, n_han: int) -> str | None:
    if n_kana >= 2 and n_kana >= _KANA_SHARE_OF_JAPANESE * (n_kana + n_han):
        return "ja"
    if n_han < 4 or n_kana > 2:
        return None
    if _CHINESE.search(prose):
        return "zh"
    small = _CHINESE_SMALL.findall(prose) if _CJK_SENTENCE.search(prose) else []
    return "zh" if len(set(small)) >= 2 and len(small) * 12 >= n_han else None


def language_problem(one: CheckedText) -> str | None:
    """Say what is not English in a reasoning, or that an answer is not in its question's language.

    Words that a reasoning quotes from the question do not count, nor a language asked for.
    """
    if one.kind == "reasoning":
        return _reasoning_problem(one.text, one.ctx.given)
    return _answer_problem(one.text, one.ctx)


def _reasoning_problem(text: str, given: str) -> str | None:
    prose = text
    if not text.isascii():
        runs = [run for run in _CJK_RUN.findall(text) if run not in given]
        n_foreign = sum(map(len, runs))
        n_latin = len(_LATIN.findall(text))
        weight = _CJK_WEIGHT * n_foreign
        if n_foreign >= 4 and weight >= _FOREIGN_SHARE * (weight + n_latin):
            return "Japanese or Chinese characters: " + "".join(runs)[:40]
        if n_latin:
            prose = _CJK_RUN.sub(" ", text)
    language = detect_language(prose)
    return None if language in (None, "en") else f"looks like {language!r}, not English"


def _answer_problem(text: str, ctx: CheckContext) -> str | None:
    if ctx.role == "translator":
        return None
    expected = _primary(ctx.language) or _question_language(ctx.question)
    if expected not in KNOWN:
        return None
    found = detect_language(text)
    if found is None or found == expected or _asks_for_other(ctx.given, expected):
        return None
    return f"looks like {found!r}; the question is in {expected!r}"


def other_language(text: str, expected: str | None, given: str = "") -> str | None:
    """Return the language of a short ``text`` that is clearly not in ``expected``; else None.

    Made for precision: a text without a clear language, one that holds a small word of the
    expected language, and any text where ``given`` names another language are let pass.

    Args:
        text: A question, say.
        expected: ISO 639-1 code; None expects nothing.
        given: What the text is about, in the words of people.
    """
    wanted = _primary(expected)
    found = detect_language(text)
    if wanted not in KNOWN or found is None or found == wanted:
        return None
    if SMALL_WORDS.get(wanted, frozenset()) & set(_LATIN_WORD.findall(text.lower())):
        return None
    return None if _asks_for_other(given, wanted) else found


@lru_cache(maxsize=1024)
def _question_language(question: str) -> str | None:
    """Return the language of a question, which has many answers in a row."""
    return detect_language(question)


def _primary(language: str | None) -> str | None:
    return re.split("[-_]", language.strip().lower())[0] if language else None


def _asks_for_other(given: str, expected: str) -> bool:
    return any(code != expected and name.search(given) for code, name in _NAME.items())
