"""Sentences that say "I don't know" in Chinese, in simplified and in traditional characters.

The patterns are in simplified characters; a sentence is turned into these before it is compared.
"""

import re
import unicodedata

_SIMPLIFIED = str.maketrans(
    "無這問題個們沒資訊確實還暫該關對據斷給從誰體準並遺曉獲認測預為難說講時間數夠請聽過種樣會麼"
    "幾緒線結應訪實況將來測網絡現於後聞樣報覺說詳",
    "无这问题个们没资讯确实还暂该关对据断给从谁体准并遗晓获认测预为难说讲时间数够请听过种样会么"
    "几绪线结应访实况将来测网络现于后闻样报觉说详",
)

_OPENER = (
    r"^(?:(?:(?:很|非常|十分)?(?:抱歉|对不起|遗憾|不好意思)|嗯|呃|说实话|坦白说|老实说"
    r"|作为[^,]{1,14}|我[^,。]{1,20},所以)[,。!…\s]*(?:但是|但)?)*"
)
_TOPIC = (
    r"(?:(?:关于|对于|至于)[^,。]{1,25},|对此,?|答案,?"
    r"|(?:这|那|该|此)(?:[个些道种件])?(?:问题|题目|题|事情|事|情况)?,?"
    r"|[^,。]{0,15}(?:谁|什么|哪|怎么|多少|几|何时|是否|会不会|是不是)[^,。]{0,12},?(?=我))?"
)
_ADVERB = r"(?:真的|也|并|目前|暂时|实在|还|尚|仍|确实|完全|一点[儿]?[也都]|都|现在)*"
_END = (
    r"[啊呢呀哦了的]?(?:[。.!…\s]*$"
    r"|[,;。](?:但是|但|不过)?(?:抱歉|对不起|请|因为|由于|[你您]可以|建议|如果|我可以帮))"
)
_DETAIL = (
    r"(?:任何|这|那|该|此|个|些|的|[你您]|确切|具体|准确|正确|相关|有关|实时|最新|足够|答案|问题|题"
    r"|事|信息|资讯|资料|数据|情况|结果|时间|日期|未来|天气|互联网|网络|是谁|是什么|是多少)*"
)
_UNSURE = r"不(?:太|大|很|是很)?(?:知道|清楚|确定|了解|晓得)"
_SAYS = (
    rf"(?:{_UNSURE}(?!性){_DETAIL}"
    rf"|(?:无法|不能|没法|没办法|没有办法|难以)(?:准确|确切|直接)?"
    r"(?:回答|确定|判断|得知|知道|知晓|给出|提供|确认|预测|告诉|解答|断定|获取|访问)"
    + _DETAIL
    + "|"
    r"(?:没有|没|缺乏|缺少)(?:关于[^,。]{1,15}的)?"
    r"(?:足够|任何|这方面|实时|相关|有关|最新|具体|确切|的)*"
    r"(?:信息|资讯|资料|数据|答案|头绪|线索)" + _DETAIL + "|"
    r"无从(?:得知|知晓)|不得而知|毫无头绪|一无所知|不懂|不明白|没有?听说过[^,。]{0,12}"
    r"|(?:很难|不好)说|说不(?:准|清楚?|好))"
)
_OWN_CLAUSE = (
    rf"我们?{_ADVERB}{_UNSURE}(?!性)(?!的[^。!])"
    r"(?!该?(?:怎么|如何|怎样)(?:感谢|谢|办|表达))[^,。:;]{0,25}"
    rf"|我{_ADVERB}无法知道[^,。:;]{{0,25}}"
)
"""After "I", everything up to the comma may be what is not known."""
_STATEMENT = re.compile(
    rf"{_OPENER}{_TOPIC}(?:(?:我们|我|本人)?{_ADVERB}{_SAYS}|{_OWN_CLAUSE}){_END}"
)
_UNKNOWN = re.compile(
    rf"{_OPENER}(?:(?:答案|这|此事|原因|作者|结果|日期|时间|人数|(?:具体|确切|准确)\w{{0,6}}?)?是?)"
    rf"{_ADVERB}(?:未知|不明|不详|不清楚|不得而知|无人知晓){_END}"
)
_NOBODY = re.compile(
    rf"{_OPENER}(?:没有?人(?:能)?(?:知道|清楚|确定)|谁[也都](?:不知道|不清楚|说不准))"
    rf"{_DETAIL}(?:原因)?{_END}"
)
_GOES_ON = re.compile(
    r"^(?:但是|但|不过|然而|可能|也许|大概|我想|我觉得|我认为),?(?!请|[你您]可以|建议|我可以帮)"
)


def admits_in_chinese(sentence: str, after: str) -> bool:
    """Tell whether ``sentence``, with the next one ``after`` it, says "I don't know"."""
    plain = _plain(sentence)
    says_it = _STATEMENT.search(plain) or _UNKNOWN.search(plain) or _NOBODY.search(plain)
    return bool(says_it) and not _GOES_ON.search(_plain(after))


def _plain(sentence: str) -> str:
    return unicodedata.normalize("NFKC", sentence).translate(_SIMPLIFIED)
