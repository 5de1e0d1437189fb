"""Ranges of letters by script, for regular expressions."""

import unicodedata
from typing import Final

from db.search import UNSEEN

HAN: Final = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KATAKANA: Final = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
HIRAGANA: Final = "\u3041-\u309f"


def folded(text: str) -> str:
    """Return a text with width and case as one, and without what nobody sees."""
    return unicodedata.normalize("NFKC", UNSEEN.sub("", text)).casefold()
