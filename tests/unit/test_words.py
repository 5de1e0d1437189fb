"""Words, lengths and checks of texts in scripts with vowel signs, or without spaces."""

import pytest

from serving.checks import CheckContext, Finding, check_answer, check_reasoning
from serving.checks.text import normalise, split_sentences
from serving.engine.responses import least_tokens
from serving.scoring.pairs import truncated
from serving.similarity.wording import wording
from serving.words import count_words, letters_of, only_words
from workbench.ui.components.text import word_diff

THAI = "ภูเขาไฟฟูจิเป็นภูเขาที่สูงที่สุดในประเทศญี่ปุ่นและมีความสูงประมาณสามพันเจ็ดร้อยเมตร"
KHMER = "ភ្នំពេញគឺជារាជធានីនៃព្រះរាជាណាចក្រកម្ពុជា"
LAO = "ວຽງຈັນເປັນນະຄອນຫຼວງຂອງປະເທດລາວ"
HINDI = "गंगा नदी हिमालय से निकलती है। यह भारत की सबसे लंबी नदी है।"
ARABIC = "القاهرة هي عاصمة مصر. هل تعرف لماذا؟ لأنها أكبر مدنها."
KOREAN = "서울은 대한민국의 수도입니다. 한강이 도시를 가로질러 흐릅니다."


def names(found: list[Finding]) -> set[str]:
    return {one.name for one in found}


def leaks(reasoning: str, reference: str, question: str = "?") -> bool:
    context = CheckContext(question=question, reference_answer=reference)
    return "answer_leak" in names(check_reasoning(reasoning, context))


def test_vowel_signs_are_letters_so_that_another_word_is_no_leak() -> None:
    assert not leaks("You should help the दीन first.", "दिन")
    assert leaks("You should say दिन first.", "दिन")
    assert not leaks("You should think of किताबें here.", "कतब")
    assert only_words("दीन") != only_words("दिन")


def test_marks_that_writers_leave_out_do_not_hide_a_leak() -> None:
    assert leaks("You should name القاهرة in the end.", "القَاهِرَة")
    assert leaks("You should say שלום to them.", "שָׁלוֹם")
    assert leaks("You should count to ٤٢ slowly.", "42")


def test_an_answer_within_a_run_without_spaces_is_a_leak() -> None:
    assert leaks(f"You should say {THAI}.", "ญี่ปุ่น")
    assert not leaks("You should say ตากลม and wait.", "ตา")
    assert not leaks(f"You should say {THAI}.", "ญี่ปุ่น", question=f"{THAI}?")


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (THAI, 15, 25),  # ภูเขาไฟ ฟูจิ เป็น ภูเขา ที่ สูง ที่สุด ใน ประเทศ ญี่ปุ่น และ มี ความสูง …
        (KHMER, 5, 12),
        (LAO, 5, 12),
        (HINDI, 13, 13),
        (ARABIC, 10, 10),
        (KOREAN, 7, 7),
        ("日本語の長い文章です", 5, 5),
        ("ใช้ Python 3 ได้", 3, 6),
        ("", 0, 0),
    ],
)
def test_every_script_has_a_length(text: str, least: int, most: int) -> None:
    assert least <= count_words(text) <= most


def test_a_long_thai_reasoning_is_too_long() -> None:
    found = check_reasoning("You should say this: " + THAI * 8, CheckContext(question="?"))
    assert "length" in names(found)


@pytest.mark.parametrize(("text", "n"), [(HINDI, 2), (ARABIC, 3), (KOREAN, 2)])
def test_sentences_end_as_their_script_ends_them(text: str, n: int) -> None:
    assert len(split_sentences(text)) == n


@pytest.mark.parametrize("text", [THAI, HINDI, ARABIC, KOREAN, KHMER, LAO])
def test_plain_texts_are_no_loops(text: str) -> None:
    context = CheckContext(question="?", language=None)
    assert "repetition" not in names(check_answer(text, context))


@pytest.mark.parametrize(
    "text",
    [
        "บ้านหลังใหญ่" * 12,
        "यह बहुत अच्छा है " * 12,
        "이것은 아주 좋은 집입니다 " * 12,
        "هذا بيت كبير جدا " * 12,
        "Wow " + "👩‍👩‍👧" * 40,
        "کاााااااااااااااااااا",
    ],
)
def test_loops_are_found_in_every_script(text: str) -> None:
    assert "repetition" in names(check_answer(text, CheckContext(question="?")))


def test_a_hindi_phrase_said_three_times_is_no_loop() -> None:
    text = "यह बहुत बहुत बहुत अच्छा विचार है और सब लोग इसे मानते हैं।"
    assert "repetition" not in names(check_answer(text, CheckContext(question="?")))


def test_an_answer_in_another_script_than_its_question_is_found() -> None:
    context = CheckContext(question=HINDI, language="hi")
    assert "language" in names(check_answer(THAI, context))
    assert "language" not in names(check_answer(HINDI, context))


def test_questions_that_differ_in_a_vowel_sign_alone_are_two() -> None:
    assert wording("दीन क्या है?").plain != wording("दिन क्या है?").plain
    assert normalise("दीन") == "दीन"


def test_letters_keep_their_marks_where_texts_are_cut_or_compared() -> None:
    assert letters_of("क्षि👩‍👩‍👧x") == ["क्", "षि", "👩‍👩‍👧", "x"]
    half = truncated(THAI.replace(" ", ""))
    assert THAI.startswith(half)
    assert THAI[len(half)] not in "ัิีึืุู็่้๊๋์"
    assert list(word_diff("वह दिन है", "वह दीन है")) == [
        ("same", "वह "),
        ("out", "दिन"),
        ("in", "दीन"),
        ("same", " है"),
    ]
    assert ("in", "부산은") in list(word_diff("서울은 크다", "부산은 크다"))


def test_the_bound_of_a_thai_prompt_is_safe() -> None:
    assert 0 < least_tokens(THAI * 40) < count_words(THAI * 40) * 2
