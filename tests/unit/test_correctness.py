"""Every check of correctness, on texts in the published forms of the field's sets (texts our own).

Forms and where they are from: GSM8K ends solutions with ``#### N`` (Cobbe et al. 2021), MATH boxes
results (Hendrycks et al. 2021), MMLU asks for one of four letters, in the harnesses after "The
answer is" (Hendrycks et al. 2020; lm-evaluation-harness ``mmlu_flan_cot``), SQuAD and DROP ignore
case, punctuation and articles (their evaluation scripts), MGSM has GSM8K in Japanese with 答えは
(Shi et al. 2022), JMMLU asks in Japanese, Inspect asks for a last line ``ANSWER: …``.
"""

# ruff: noqa: E501  # a case is read best on one line
import time

import pytest

from db.errors import UsageError
from serving.correctness import ANSWER_CHECKS, AnswerCheck, parse_answer_check

CASES = {
    "number": [
        # GSM8K: the mark, thousands, currency; without a mark the last number
        ("She sells 9 eggs at $2 each: 9 * 2 = 18.\n#### 18", "16 - 3 - 4 = 9\n9 * 2 = 18\n#### 18", True),
        ("#### $1,250.00", "#### 1250", True),
        ("That makes 3 boxes and 72 pens in all.", "#### 72", True),
        ("He needs 72 pens. The answer is 70.", "#### 72", False),
        ("The answer is 18 dollars because 9 × 2 = 18 and 9 - 7 = 2.", "18", True),
        ("**Answer:** 42", "42", True),
        ("I cannot say.", "42", False),
        ("The temperature falls to -5 degrees.", "-5", True),
        ("It is between 3-5", "5", True),
        ("The answer is 3/4.", "0.75", True),
        ("about 60%", "60", True),
        ("The speed is 3×10^8 m/s", "300000000", True),
        ("1.5e3", "1500", True),
        ("It costs 12,5 euros", "12.5", True),
        # MGSM in Japanese: full-width digits, Japanese numerals and units
        ("一日に９個の卵を売るので、答えは１８です。", "18", True),
        ("答えは、１，２５０円です。", "1250", True),
        ("合計は1億2000万円になります。", "120000000", True),
        ("最終的な答え：２万５千", "25000", True),
        ("答えは三百六十五日です。", "365", True),
        ("答えはマイナス五度です。", "-5", True),
        ("答えは十七です。", "18", False),
        ("正解是 ４２。", "42", True),
        # The first and a later problem of GSM8K's test set, with the marks of its calculator
        ("Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\nShe makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18", "18", True),
        ("It takes 2/2=<<2/2=1>>1 bolt of white fiber, 2+1=<<2+1=3>>3 in all\n#### 3", "2", False),
        ("#### 70,000", "70000", True),
        # Other ways of writing a number: mixed, vulgar, of SI, Japanese fractions
        ("It is 3 1/2", "3.5", True),
        ("2½ cups", "2.5", True),
        ("½", "1/2", True),
        ("1\u202f000\u00a0000 people", "1000000", True),
        ("Pages 3 10/2", "5", True),
        ("全体の２分の１です", "0.5", True),
        ("約２．５億人", "250000000", True),
        ("−５度", "-5", True),
    ],
    "number:0.01": [("x = 3.14", "3.1415", True), ("x = 3.12", "3.1415", False)],
    "number:1%": [("about 1,009", "1000", True), ("about 1,011", "1000", False)],
    "option": [
        # MMLU: letters alone, in brackets, after a mark, with their text
        ("C", "C", True),
        ("(C)", "C", True),
        ("c", "C", True),
        ("C. The mitochondrion", "C) The mitochondrion", True),
        ("The answer is (B).", "B", True),
        ("Let's think. A is wrong, B is too hot. So the answer is D.", "D", True),
        ("The best choice would be (A), since (B) is false.\nTherefore the answer is (A).", "A", True),
        ("ANSWER: B", "B", True),
        ("A good guess is hard.", "A", False),
        ("I think option B fits.", "B", True),
        ("I think so.", "I", False),
        ("正解は（Ｃ）です。", "C", True),
        ("答え：イ", "イ", True),
        ("アイスクリームです。", "ア", False),
        ("Both A and B", "B", True),
        ("B or C", "C", False),
        ("The answer is (d).", "D", True),
        ("$\\boxed{\\text{(C)}}$", "C", True),
        ("The correct answer is option C: Paris", "C", True),
        # JMMLU: its options in Japanese sentences
        ("選択肢ウが正しい。", "ウ", True),
        ("選択肢アイスは正しくない。", "ア", False),
        ("答え：Ｂ", "B", True),
    ],
    "match": [
        # SQuAD, DROP: case, punctuation and articles say nothing
        ("The Denver Broncos.", "denver broncos", True),
        ("the 'Golden Anniversary'", "golden anniversary", True),
        ("The answer is Paris.", "Paris", True),
        ("Paris, France", "Paris", False),
        ("1,000", "1000", True),
        ("-5", "5", False),
        ("0.5", "05", False),
        ("東京タワー。", "東京タワー", True),
        ("答えは「東京タワー」です。", "東京タワー", True),
        ("答えは京都です。", "東京", False),
        ("答えは、からだ", "からだ", True),
        ("ＮＡＳＡ", "nasa", True),
        ("ﾄｳｷｮｳ", "トウキョウ", True),
        ("don't", "dont", False),
    ],
    "match:any": [("l", "Super Bowl L\nL", True), ("Bowl", "Super Bowl L\nL", False)],
    "contains": [
        ("It was the Denver Broncos who won.", "Denver Broncos", True),
        ("It has 142 pages", "42", False),
        ("It has 42 pages", "42", True),
        ("It is 42.5", "42", False),
        ("それは東京タワーです。", "東京タワー", True),
        ("高さは３３３メートル", "333", True),
        ("約2,500人です", "2,500", True),
        ("約２５００人です", "2,500", True),
        ("これはNASAの計画", "NASA", True),
        ("Parisian", "Paris", False),
    ],
    "exact": [
        ("  Paris\n", "Paris", True),
        ("paris", "Paris", False),
        ("#### Paris", "Paris", True),
        ("e\u0301te\u0301", "\u00e9t\u00e9", True),
    ],
    "json": [
        ('Here:\n```json\n{"b": [1, 2.0], "a": "x"}\n```', '{"a": "x", "b": [1.0, 2]}', True),
        ('{"a": true}', '{"a": 1}', False),
        ("so I choose [1, 2] and {\"a\": 1}", '{"a": 1}', True),
        ("none", "{}", False),
        ('{"a": 1, "b": 2}', '{"a": 1}', False),
    ],
    "json:total.eur": [
        ('{"total": {"eur": 12.50}}', "12.5", True),
        ('{"total": {"usd": 12.50}}', "12.5", False),
        ('{"total": {"eur": "twelve"}}', "twelve", True),
    ],
    "regex:(?i)^yes\\b": [("Yes, it is", "", True), ("No. Yes", "", False)],
    "maths": [
        # MATH: boxed results; equal by meaning, not by their signs
        (r"so we get $\boxed{\frac{1}{2}}$", r"\frac{1}{2}", True),
        (r"\boxed{0.5}", r"The area is $\boxed{\dfrac12}$.", True),
        (r"It is $x^2+2x+1$.", "$(x+1)^2$", True),
        (r"\boxed{\left(3, \frac{\pi}{2}\right)}", r"$(3, \pi/2)$", True),
        (r"\boxed{[0,1)}", r"$[0,1]$", False),
        ("#### 18", "18", True),
        # References as MATH stores them: bare LaTeX
        (r"\boxed{3\sqrt{13}}", r"3\sqrt{13}", True),
        ("The answer is 3*sqrt(13)", r"3\sqrt{13}", True),
        (r"\boxed{\sqrt{13}}", r"3\sqrt{13}", False),
        (r"$\frac{\sqrt{2}}{2}$", r"\frac{1}{\sqrt2}", True),
        (r"\boxed{90}", r"90^\circ", True),
        (r"答えは $\frac{1}{2}$ です。", "0.5", True),
        ("答えは２分の１です", "1/2", True),
        ("答えは７２です。", "72", True),
        ("I give up.", "72", False),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("check", "answer", "reference", "correct"),
    [(check, *case) for check, cases in CASES.items() for case in cases],
)
def test_published_forms(check: str, answer: str, reference: str, correct: bool) -> None:
    chosen = parse_answer_check(check)
    assert chosen is not None
    grade = chosen.grade(answer, reference)
    assert grade.correct is correct, grade


def test_every_check_is_tried_both_ways() -> None:
    tried = {name: [one[2] for one in cases] for name, cases in CASES.items()}
    for name in ANSWER_CHECKS:
        found = [one for check, own in tried.items() if check.split(":")[0] == name for one in own]
        assert True in found, name
        assert False in found, name


@pytest.mark.parametrize(
    ("check", "reference"),
    [("number", "no idea"), ("option", "Paris"), ("match", "!!"), ("number", None), ("maths", "?")],
)
def test_a_reference_that_does_not_fit_grades_nothing(check: str, reference: str | None) -> None:
    grade = AnswerCheck(check).grade("42", reference)
    assert grade.correct is None
    assert grade.found


def test_what_takes_too_long_is_ended_and_the_next_one_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.correctness.limited.LIMIT_S", 0.5)
    assert AnswerCheck("regex", "^a").grade("abc", None).correct is True  # the child is there
    started = time.monotonic()
    grade = AnswerCheck("regex", r"(a+)+$").grade("a" * 40 + "b", None)
    assert grade.correct is None
    assert time.monotonic() - started < 5
    assert AnswerCheck("regex", "^a").grade("abc", None).correct is True


def test_a_tower_of_powers_is_no_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AnswerCheck("maths").grade("1", "1").correct is True  # the child has loaded SymPy
    monkeypatch.setattr("serving.correctness.limited.LIMIT_S", 1.0)
    assert AnswerCheck("maths").grade("9^9^9^9^9", "9").correct is not True


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("guess", "choose one of exact, match"),
        ("number:much", "0.01 or 1%"),
        ("number:-1", "0.01 or 1%"),
        ("regex:(", "regular expression"),
        ("regex", "takes a pattern"),
        ("option:4", "takes no argument"),
        ("match:some", "any"),
    ],
)
def test_a_check_that_is_none_is_refused_with_what_to_do(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        parse_answer_check(text)


def test_keys_change_with_all_that_changes_a_grade() -> None:
    keys = {
        AnswerCheck("number").key("1"),
        AnswerCheck("number").key("2"),
        AnswerCheck("number", "1%").key("1"),
        AnswerCheck("match").key("1"),
    }
    assert len(keys) == 4
    assert parse_answer_check(" Number:1% ") == AnswerCheck("number", "1%")
    assert parse_answer_check("") is None


@pytest.mark.parametrize("check", ["number", "option", "match", "contains", "exact", "json"])
@pytest.mark.parametrize(
    "answer", ["", "\x00", "{" * 5000, "[" * 100_000, "9" * 5000, "-", "１" * 999]
)
def test_no_answer_ends_a_check_by_an_error(check: str, answer: str) -> None:
    assert AnswerCheck(check).grade(answer, "4").correct is not True
