"""Answers that say "I don't know", in English, Japanese and Chinese.

Only a statement about the question counts: it opens or closes its sentence, and the sentence is one
of the first two or the text is short. "I don't know why people …" within an answer is none.
"""

import re

_SHORT_TEXT = 3
"""Sentences; in a text of at most so many, each sentence may be the one that says it."""

_HEDGE_EN = (
    r"(?:(?:well|sorry|unfortunately|honestly|apologies|i apologi[sz]e|i['’]?m (?:very |so )?sorry"
    r"|i am (?:very |so )?sorry|i['’]?m afraid|i am afraid|to be honest|frankly"
    r"|based on [^,]{3,60})(?: that)?[,.:;]? +(?:but +)?)*"
)
_TAIL_EN = (
    r"(?=[.!;,]|\s*$"
    r"|\s+(?:the|an?|any)\s+(?:\w+\s+){0,3}?(?:answers?|details?|facts?|information)\b"
    r"|\s+(?:that|this|it|who|what|when|where|which|how|if|whether|about|of|enough|exactly|for|to)\b)"
)
_ENGLISH = re.compile(
    "^"
    + _HEDGE_EN
    + r"(?:(?:i|we)(?:['’]m| am|['’]re| are)? ?(?:really |simply |just |honestly |quite |also )?"
    r"(?:(?:do not|don['’]?t) know|not (?:entirely |really |quite |at all )?(?:sure|certain)"
    r"|have no (?:idea|clue)|(?:can ?not|can['’]?t|could not|am unable to|unable to)"
    r" (?:really )?(?:answer|say|tell|determine|know)"
    r"|(?:do not|don['’]?t) have (?:enough |sufficient |any |the )?(?:information|knowledge|data))"
    + _TAIL_EN
    + r"|(?:no ?one|nobody) (?:really )?(?:knows|can know|can say)"
    r"(?=[.!,;]|\s*$|\s+(?:for|that|what|how|the))"
    r"|(?:it is|it['’]s|this is|that is) (?:not known(?! for)|unknown"
    r"|(?:impossible|not possible) to (?:know|say|tell|determine))"
    r"|there is (?:no way (?:to know|of knowing)|not enough information|insufficient information)"
    r"|(?:the answer|this|that) (?:is unknown|is not known|cannot be (?:known|determined)))",
    re.IGNORECASE,
)
_GOES_ON_EN = re.compile(
    r"\b(?:but|however|though|still)\b[,]? (?:i (?:think|believe|guess|would say)|the answer|it is"
    r"|it['’]s|most|probably|perhaps|maybe|estimates?|about|around|one|many|some|there)",
    re.IGNORECASE,
)
_JAPANESE = re.compile(
    r"(?:(?:わか|分か|判か|解か|分|判|解)(?:りません|らない|りかねます|らないです|んない)"
    r"|知りません|知らないです|存じません|存じ上げません|不明です|(?:お)?答え(?:でき|られ)(?:ません|ない)"
    r"|お答えしかねます|回答(?:でき|いたしかね)(?:ません|ない|ます)"
    r"|(?:断定|判断|特定|確認|予測)(?:は)?(?:でき|いたしかね)(?:ません|ない|ます)"
    r"|(?:確信|自信)が(?:持てません|ありません|持てない|ない)|見当(?:が|も)つきません"
    r"|(?:十分な)?(?:情報|データ|知識)(?:が|は)(?:ありません|足りません|不足しています|ない))"
    r"(?:でした|です|のです|んです|ね|よ|な|わ)*[。.！!\s」』）)]*$"
)
_HEDGE_ZH = r"(?:(?:很|非常|十分)?(?:抱歉|对不起|對不起|遗憾|遺憾|不好意思)[，,。！]?(?:但)?)?"
_CHINESE = re.compile(
    "^" + _HEDGE_ZH + r"(?:我|我们|我們)?(?:真的|也|并|並|目前|暂时|暫時|实在|實在|还|還)*"
    r"(?:不知道|不清楚|不太清楚|不确定|不太确定|不確定|不太確定|不了解|不晓得"
    r"|(?:无法|無法|不能|没法)(?:回答|确定|確定|判断|判斷|得知|知道|给出|給出|提供)"
    r"|无从得知|無從得知|不得而知|没有(?:足够|足夠)的?(?:信息|资料)|沒有足夠的?(?:資訊|資料))"
    r"(?:这|這|该|該|此|确切|確切|具体|具體|准确|正确|相关|个|個|的|这个|答案|问题|問題|信息|資訊|是谁|是什么|是多少|情况)*"
    r"[。.！!，,；;\s]*(?:$|抱歉|对不起|请|請|因为|因為)"
)
_CHINESE_UNKNOWN = re.compile(
    r"(?:答案|这|這|具体\w{0,6}|没有人|沒有人|没人|沒人)(?:是)?(?:未知的?|不得而知|无人知晓|知道)[。.！!\s]*$"
)


def ignorance(text: str, sentences: list[str]) -> str | None:
    """Return the sentence in which an answer says that it does not know; None if there is none."""
    for sentence in sentences if len(sentences) <= _SHORT_TEXT else sentences[:2]:
        if _says_it(sentence):
            return sentence[:80]
    return None


def _says_it(sentence: str) -> bool:
    if _ENGLISH.search(sentence):
        return not _GOES_ON_EN.search(sentence)
    if sentence.isascii():
        return False
    return bool(
        _JAPANESE.search(sentence) or _CHINESE.search(sentence) or _CHINESE_UNKNOWN.search(sentence)
    )
