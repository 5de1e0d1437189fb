"""Sentences that say "I don't know" in Japanese, where the verb ends them and "I" is left out."""

import re
import unicodedata

_OPENER = (
    r"^(?:(?:さあ|うーん|ええと|すみません|申し訳(?:ありません|ございません|ない)|ごめん(?:なさい)?"
    r"|残念ながら|正直(?:に言うと|なところ)?)(?:です)?が?[、。,…\s]*)*"
)
_ADVERB = r"(?:まだ|よく|全く|まったく|全然|あまり|正確に(?:は)?|はっきり(?:と)?|誰も|何も)*"
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
_END = (
    r"(?:でした|です|のです|んです|ね|よ|な|わ|が|けど|なあ|なぁ)*"
    rf"(?:[。.！!…\s]*|(?:が|けど|けれど|ので|ため)、[^。]{{0,40}}{_ADVICE}[。!]?)$"
)
_STATEMENT = re.compile(_VERB + _END)
_WHOLE = re.compile(
    _OPENER + r"(?:(?:私|僕|俺|わたし|ぼく)(?:は|も))?"
    r"(?:(?:それ|これ|そのこと|(?:その)?答え|名前|詳細)(?:は|を|も))?"
    rf"{_ADVERB}(?:知らない|知らん|しらない|不明(?:だ|である)?)" + _END
)
"""Plain forms that end many other sentences too."""

_KNOWER = re.compile(
    r"(?:彼|彼女|彼ら|あなた|君|人間|人々|子供|子ども|(?<![私僕俺])たち|大人|さん|君|犬|猫|動物"
    r"|生徒|学生|先生|少年|少女|ロボット)に?[はも]"
)
"""Somebody else who does not know."""
_HAS_SUBJECT = re.compile(rf"(?<![でにとて私僕俺])(?<!私たち)(?<!我々)は[^、]*[がを]{_ADVERB}$")
""" "XはYがわかりません": X does not know Y."""
_UNTIL = re.compile(r"なければ|なきゃ|ないと|までは?$")
""" "やってみなければわかりません": a general truth."""
_GOES_ON = re.compile(
    rf"^(?:しかし|ただし|ただ、|でも|だが|とはいえ|おそらく|恐らく|たぶん|多分)(?!.*{_ADVICE})"
)


def admits_in_japanese(sentence: str, after: str) -> bool:
    """Tell whether ``sentence``, with the next one ``after`` it, says "I don't know"."""
    plain = unicodedata.normalize("NFKC", sentence)
    if _GOES_ON.search(after):
        return False
    if _WHOLE.search(plain):
        return True
    found = _STATEMENT.search(plain)
    if not found:
        return False
    before = plain[: found.start()]
    is_quoted = before.count("「") > before.count("」")
    return not (
        is_quoted or _KNOWER.search(before) or _HAS_SUBJECT.search(before) or _UNTIL.search(before)
    )
