"""What the core of dialogues refuses or stops is told in Japanese as well."""

import pytest

from workbench.i18n import translate_message


@pytest.mark.parametrize(
    ("said", "japanese"),
    [
        (
            "It took longer than 0.5 s and was stopped; what had come by then is there.",
            "0.5 秒を超えたため止められました。それまでに届いたものは残っています。",
        ),
        (
            "This proposal is the question that you are at: take another one, or say in your own"
            " words what is still to be asked.",
            "この提案はいま扱っている問いそのものです。別の問いを選ぶか、まだ問うべきことを自分の言葉で書いてください。",
        ),
        (
            "The adapter round1 belongs to another base than base; to answer anew on its own base,"
            " name it as the model.",
            "アダプター round1 の基盤モデルは base のものと異なります。"
            "その基盤で答え直すには、モデルとして指定してください。",
        ),
        (
            "base has no adapter that could be left out (base); name another model.",
            "base（base）には外せるアダプターがありません。別のモデルを指定してください。",
        ),
        (
            "The tag has 600 characters; 500 fit.",
            "タグが 600 文字あります。500 文字以内にしてください。",
        ),
        (
            "The source has 600 characters; 500 fit.",
            "出典が 600 文字あります。500 文字以内にしてください。",
        ),
        (
            "This is question 3 of the tree already; decide on it there.",
            "この問いはすでに木の問い 3 です。そちらで決めてください。",
        ),
        (
            "Another question stands for question 3 already; take it up again first.",
            "問い 3 はすでに別の問いに統合されています。先に再開してください。",
        ),
    ],
)
def test_a_refusal_is_told_in_japanese(said: str, japanese: str) -> None:
    assert translate_message(said, "ja") == japanese
    assert translate_message(said, "en") == said
