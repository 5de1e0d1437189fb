"""Whether an answer says "I don't know", in English, Japanese or Chinese.

Only a statement about the question counts: it makes up its sentence, and the sentence is one of the
first two or the text is short. "I don't know why people …; it is …" is an answer, and so is "I
don't know. However, …". What other people do not know is not looked for.
"""

import re
import unicodedata
from functools import lru_cache

from serving.checks.text import split_sentences

# ruff: noqa: E501  # a pattern is read best on one line


def _any(*phrases: str) -> str:
    return f"(?:{'|'.join(phrases)})"


_EN_OPENER = _any(
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
_START = rf"^(?:{_EN_OPENER}(?: that)?[,.:;!…-]* +(?:but +)?)*"
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
_EN_NOBODY = _any(
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
_EN_STATEMENT = re.compile(f"{_START}(?:{_I}{_PERSON}|{_EN_NOBODY})")

_QUESTION_WORDS = r"(?:about|what|who|how|why|when|where|which|if|whether)"
_EN_PHRASE = re.compile(
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
_EN_GOES_ON = re.compile(
    rf"\b{_BUT}\b,? (?!{_HELP}\b)|[,;:—-] *(?!{_HELP}\b){_GUESS}\b|^(?!{_HELP}\b)(?:{_GUESS}|still)\b"
)
"""An answer after all: "but it is …", "maybe five"; "but you could ask …" is none."""


def admits_in_english(sentence: str, after: str) -> bool:
    """Tell whether ``sentence``, with the next one ``after`` it, says "I don't know"."""
    plain = _plain_english(sentence)
    found = _EN_STATEMENT.match(plain) or _EN_PHRASE.match(plain)
    if not found:
        return not after and _WHY.match(plain) is not None
    return not (_EN_GOES_ON.search(plain[found.end() :]) or _begins_answer(_plain_english(after)))


def _begins_answer(after: str) -> bool:
    found = _EN_GOES_ON.search(after)
    return found is not None and found.start() == 0


def _plain_english(sentence: str) -> str:
    return " ".join(sentence.replace("’", "'").lower().split())


_JA_OPENER = (
    r"^(?:(?:さあ|うーん|ええと|すみません|申し訳(?:ありません|ございません|ない)|ごめん(?:なさい)?"
    r"|残念ながら|正直(?:に言うと|なところ)?)(?:です)?が?[、。,…\s]*)*"
)
_JA_ADVERB = r"(?:まだ|よく|全く|まったく|全然|あまり|正確に(?:は)?|はっきり(?:と)?|誰も|何も)*"
_INFORMATION = r"(?:情報|データ|知識|資料)"
_VERB = (
    r"(?:(?:わか|分か|判か|解か|分|判|解)(?:りません|らない|りかねます|らん|んない)"
    r"|知りません(?!でした)|知らないです|存じません|存じ上げません|存じておりません"
    r"|(?:わかって|分かって|判明して|明らかになって)(?:いません|おりません|いない)"
    r"|(?<!行方)不明です|(?:何|なん)とも(?:言|い)え(?:ません|ない)"
    r"|(?:お)?答え(?:することが)?(?:でき|られ)(?:ません|ない)|お答えし?かねます"
    r"|回答(?:することが|は)?(?:でき|いたしかね|し?かね)(?:ません|ない|ます)"
    r"|(?:断定|判断|特定|確認|予測)(?:する?ことが|は)?(?:でき|いたしかね)(?:ません|ない|ます)"
    r"|(?:確信|自信)が(?:持てません|ありません|持てない|ない)|見当(?:が|も)つ(?:きません|かない)"
    rf"|{_INFORMATION}(?:が|は)(?:ありません|足りません|不足しています|ない)"
    rf"|{_INFORMATION}(?:を|は)持(?:って|ち合わせて)(?:いません|おりません|いない)"
    rf"|{_INFORMATION}に(?:は)?アクセスできません)"
)
_ADVICE = r"(?:ください|下さい|勧めします|すすめします)"
_JA_END = (
    r"(?:でした|です|のです|んです|ね|よ|な|わ|が|けど|なあ|なぁ)*"
    rf"(?:[。.！!…\s]*|(?:が|けど|けれど|ので|ため)、[^。]{{0,40}}{_ADVICE}[。!]?)$"
)
_JA_STATEMENT = re.compile(_VERB + _JA_END)
_JA_PLAIN_FORM = re.compile(
    _JA_OPENER + r"(?:(?:私|僕|俺|わたし|ぼく)(?:は|も))?"
    r"(?:(?:それ|これ|そのこと|(?:その)?答え|名前|詳細)(?:は|を|も))?"
    rf"{_JA_ADVERB}(?:知らない|知らん|しらない|不明(?:だ|である)?)" + _JA_END
)
"""Plain forms that end many other sentences too."""

_KNOWER = re.compile(
    r"(?:彼|彼女|彼ら|あなた|君|人間|人々|子供|子ども|(?<![私僕俺])たち|大人|さん|君|犬|猫|動物"
    r"|生徒|学生|先生|少年|少女|ロボット)に?[はも]"
)
"""Somebody else who does not know."""
_HAS_SUBJECT = re.compile(rf"(?<![でにとて私僕俺])(?<!私たち)(?<!我々)は[^、]*[がを]{_JA_ADVERB}$")
""" "XはYがわかりません": X does not know Y."""
_UNTIL = re.compile(r"なければ|なきゃ|ないと|までは?$")
""" "やってみなければわかりません": a general truth."""
_JA_GOES_ON = re.compile(
    rf"^(?:しかし|ただし|ただ、|でも|だが|とはいえ|おそらく|恐らく|たぶん|多分)(?!.*{_ADVICE})"
)


def admits_in_japanese(sentence: str, after: str) -> bool:
    """Tell whether ``sentence``, with the next one ``after`` it, says "I don't know"."""
    plain = unicodedata.normalize("NFKC", sentence)
    if _JA_GOES_ON.search(after):
        return False
    if _JA_PLAIN_FORM.search(plain):
        return True
    found = _JA_STATEMENT.search(plain)
    if not found:
        return False
    before = plain[: found.start()]
    is_quoted = before.count("「") > before.count("」")
    return not (
        is_quoted or _KNOWER.search(before) or _HAS_SUBJECT.search(before) or _UNTIL.search(before)
    )


_SIMPLIFIED = str.maketrans(
    "無這問題個們沒資訊確實還暫該關對據斷給從誰體準並遺曉獲認測預為難說講時間數夠請聽過種樣會麼"
    "幾緒線結應訪實況將來測網絡現於後聞樣報覺說詳",
    "无这问题个们没资讯确实还暂该关对据断给从谁体准并遗晓获认测预为难说讲时间数够请听过种样会么"
    "几绪线结应访实况将来测网络现于后闻样报觉说详",
)

_CH_OPENER = (
    r"^(?:(?:(?:很|非常|十分)?(?:抱歉|对不起|遗憾|不好意思)|嗯|呃|说实话|坦白说|老实说"
    r"|作为[^,]{1,14}|我[^,。]{1,20},所以)[,。!…\s]*(?:但是|但)?)*"
)
_TOPIC = (
    r"(?:(?:关于|对于|至于)[^,。]{1,25},|对此,?|答案,?"
    r"|(?:这|那|该|此)(?:[个些道种件])?(?:问题|题目|题|事情|事|情况)?,?"
    r"|[^,。]{0,15}(?:谁|什么|哪|怎么|多少|几|何时|是否|会不会|是不是)[^,。]{0,12},?(?=我))?"
)
_CH_ADVERB = r"(?:真的|也|并|目前|暂时|实在|还|尚|仍|确实|完全|一点[儿]?[也都]|都|现在)*"
_CH_END = (
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
    rf"我们?{_CH_ADVERB}{_UNSURE}(?!性)(?!的[^。!])"
    r"(?!该?(?:怎么|如何|怎样)(?:感谢|谢|办|表达))[^,。:;]{0,25}"
    rf"|我{_CH_ADVERB}无法知道[^,。:;]{{0,25}}"
)
"""After "I", everything up to the comma may be what is not known."""
_CH_STATEMENT = re.compile(
    rf"{_CH_OPENER}{_TOPIC}(?:(?:我们|我|本人)?{_CH_ADVERB}{_SAYS}|{_OWN_CLAUSE}){_CH_END}"
)
_UNKNOWN = re.compile(
    rf"{_CH_OPENER}(?:(?:答案|这|此事|原因|作者|结果|日期|时间|人数|(?:具体|确切|准确)\w{{0,6}}?)?是?)"
    rf"{_CH_ADVERB}(?:未知|不明|不详|不清楚|不得而知|无人知晓){_CH_END}"
)
_CH_NOBODY = re.compile(
    rf"{_CH_OPENER}(?:没有?人(?:能)?(?:知道|清楚|确定)|谁[也都](?:不知道|不清楚|说不准))"
    rf"{_DETAIL}(?:原因)?{_CH_END}"
)
_CH_GOES_ON = re.compile(
    r"^(?:但是|但|不过|然而|可能|也许|大概|我想|我觉得|我认为),?(?!请|[你您]可以|建议|我可以帮)"
)


def admits_in_chinese(sentence: str, after: str) -> bool:
    """Tell whether ``sentence``, with the next one ``after`` it, says "I don't know"."""
    plain = _plain_chinese(sentence)
    says_it = _CH_STATEMENT.search(plain) or _UNKNOWN.search(plain) or _CH_NOBODY.search(plain)
    return bool(says_it) and not _CH_GOES_ON.search(_plain_chinese(after))


def _plain_chinese(sentence: str) -> str:
    return unicodedata.normalize("NFKC", sentence).translate(_SIMPLIFIED)


_SHORT_TEXT = 3
"""Sentences; in a text of at most so many, each sentence may be the one that says it."""

_QUOTES = {"“": "”", "「": "」", "『": "』", '"': '"', "(": ")", "（": "）"}


@lru_cache(maxsize=1024)
def ignorance(text: str) -> str | None:
    """Return the sentence in which an answer says that it does not know; None if there is none."""
    sentences = split_sentences(text)
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
