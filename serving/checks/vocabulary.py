"""The word lists of the checks, as plain words so that they are easy to read and to extend."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SMALL_WORDS = {
    "en": _words("""
        the and is are was were of to in that it you this for with as on be by not or should have
        has which from their they there what how when who will can would at an if but your we
        because then into about these those its than first each do does
    """),
    "fr": _words("""
        le la les des est une un et du de dans que qui pour pas sur avec vous nous il elle ce cette
        sont au aux par plus mais ou où être votre leur ses son
    """),
    "de": _words("""
        der die das und ist nicht ein eine einen zu den dem mit von für auf sich auch es sie ich wir
        sind wird werden als bei oder aber nach wie man dass sollte sollten
    """),
    "es": _words("""
        el la los las de que y en un una es por con para del se no su al lo como más pero sus este
        esta son está debe usted también muy
    """),
    "it": _words("""
        il lo la gli le di che e un una è per con del della non si sono da dei nel alla come più
        anche questo questa ma essere
    """),
    "pt": _words("""
        o a os as de que e em um uma é por com para do da não se no na dos das ao como mais mas você
        seu sua são está também
    """),
    "nl": _words("""
        de het een en van is in dat op te zijn met voor niet aan er die ook als bij maar om je wordt
        naar deze dit moet
    """),
}
"""ISO 639-1 code → the small words of a language in Latin script."""

SMALL_ENGLISH = _words("""
    a an and are as at be been but by can could did do does each ensure explain first for from has
    have how i if in into is it its like make may more most must next no not of on one or other
    should so some such sure than that the their them then there these they this those to use was
    we what when where which while who why will with would you your consider describe about mention
    give answer question clear clearly also well any all
""")
"""Words that two texts may share without saying anything."""

NO_ANSWER = _words("""
    yes no true false none nothing unknown はい いいえ いえ ある ない 是 是的 不 不是 对 對 正しい
    正解 可能 不可能
""")
"""Bare answers that also stand in innocent reasonings."""

NO_NAME = _words("""
    you i ai english japanese chinese french german spanish italian korean american british european
    asian african western eastern step first second third next then finally also additionally
    internet monday tuesday wednesday thursday friday saturday sunday january february march april
    may june july august september october november december mount mt lake river city sea ocean
    island university north south east west greek roman latin ok alpaca json html python markdown
    unicode
""")
"""Capitalised words that give no answer away."""

METHODS = _words("theorem law formula method rule principle equation test scale model")
"""A name before one of these is a way to the answer."""

MEASURES = _words("""
    sentence sentences step steps point points example examples word words part parts idea ideas
    item items paragraph paragraphs reason reasons line lines section sections times way ways option
    options stage stages element elements main key short simple clear different things aspects
    factors questions suggestions tips
""")
"""A number before one of these counts what to write."""
