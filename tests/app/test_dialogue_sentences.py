"""What dialogues say of a turn, refuse or stop is told in the language of the visit."""

import pytest

from db.messages import Message
from workbench.dialogue.events import one_line
from workbench.i18n import translate_message


def texts_failed() -> Message:
    why = Message(
        "The model server at {where} gave no answer in {waited:.1f} s.", where="x", waited=5
    )
    reason = Message("{n:,} × {why}", n=2, why=why)
    return Message("{n} of {most} texts failed. {why}", n=2, most=3, why=reason)


@pytest.mark.parametrize(
    ("said", "japanese"),
    [
        (
            Message(
                "{move}: {why}; {n} questions could be read.",
                move="rebut",
                why="the list was cut off",
                n=2,
            ),
            "反論する：一覧が途中で切れています。読み取れた問いは 2 件です。",
        ),
        (
            texts_failed(),
            "3 件のうち 2 件の生成に失敗しました。"
            "2 件：x のモデルサーバーが 5.0 秒以内に応答しませんでした。",
        ),
        (
            Message("The synopsis could not be read in full: {why}.", why="there is no list"),
            "まとめを全部は読み取れませんでした：一覧がありません。",
        ),
        (Message("turn {n} of {most} is done", n=1, most=3), "3 回のうち 1 回が終わりました"),
        ("No new answer came.", "新しい回答は届きませんでした。"),
    ],
)
def test_a_problem_is_told_in_japanese_with_its_parts(said: str, japanese: str) -> None:
    assert translate_message(said, "ja") == japanese
    assert translate_message(said, "en") == said


def test_a_refusal_is_told_in_japanese() -> None:
    with pytest.raises(Exception, match=r"^The tag has 600 characters; 500 fit\.$") as refused:
        one_line("x" * 600, "tag")
    assert (
        translate_message(refused.value, "ja")
        == "タグが 600 文字あります。500 文字以内にしてください。"
    )
