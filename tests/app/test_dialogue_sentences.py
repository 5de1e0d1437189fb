"""What dialogues say of a turn is told in the language of the visit."""

import pytest

from workbench.i18n import translate_message


@pytest.mark.parametrize(
    ("said", "japanese"),
    [
        (
            "rebut: the list was cut off; 2 questions could be read.",
            "反論する：一覧が途中で切れています。読み取れた問いは 2 件です。",
        ),
        (
            "2 of 3 texts failed. No new answer came.",
            "3 件のうち 2 件の生成に失敗しました。新しい回答は届きませんでした。",
        ),
        (
            "The synopsis could not be read in full: there is no list.",
            "まとめを全部は読み取れませんでした：一覧がありません。",
        ),
        ("turn 1 of 3 is done", "3 回のうち 1 回が終わりました"),
        (
            "The dialogue 'Town' is paused; resume it first.",
            "対話 'Town' は一時停止中です。先に再開してください。",
        ),
    ],
)
def test_a_problem_is_told_in_japanese_with_its_parts(said: str, japanese: str) -> None:
    assert translate_message(said, "ja") == japanese
    assert translate_message(said, "en") == said
