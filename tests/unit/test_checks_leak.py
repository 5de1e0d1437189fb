"""The leak check: names, numbers, phrases and long runs of the answer inside the reasoning."""

import pytest

from serving.checks import CheckContext, check_answer, check_reasoning

FUJI = "日本一高い山はどこですか。"
CAPITAL = "What is the capital of France?"

REFERENCE_LEAKS = [
    (CAPITAL, "Paris", "You should recall that Paris is the seat of government."),
    (CAPITAL, "The answer is Paris.", "You should recall that it is Paris."),
    (CAPITAL, "Paris", "PARIS is what you should say."),
    ("What is six times seven?", "42", "You should multiply and get 42."),
    ("What is six times seven?", "42", "You should say that the result is 42."),
    ("How high is Mount Fuji?", "3,776 m", "You should state that it rises to 3776 metres."),
    ("How high is Mount Fuji?", "3776", "You should state that it rises to 3,776 metres."),
    ("What gas do plants take in?", "carbon dioxide", "You should name carbon dioxide."),
    ("What gas do plants take in?", "Carbon dioxide.", "You should think of Carbon Dioxide."),
    ("Which ocean is the largest?", "The Pacific Ocean", "You should point to the Pacific ocean."),
    ("What melts at 0 °C?", "ice or snow", "You should think of snow."),
    (FUJI, "富士山", "You should say that 富士山 is the one."),
    (FUJI, "富士山です。", "You should say that 富士山 is the one."),
    (FUJI, "富士山（Mount Fuji）", "You should point to Mount Fuji."),
    (FUJI, "富士山", "富士山の文化的な意味を考える必要があります。"),
    ("日本の首都は？", "東京", "You should name 東京."),
    ("生きるのに要る液体は？", "水", "You should think of 水 first."),
    ("エッフェル塔はどの都市にありますか。", "パリ", "You should answer パリ."),
    ("中国最长的河是哪条？", "长江", "You should answer 长江 and say where it flows."),
    ("What is the value of pi?", "3.14", "You should give 3.14 as the value."),
    (
        "Why do leaves change colour?",
        "The green chlorophyll breaks down and the yellow carotenoid pigments become visible.",
        "You should say that green chlorophyll breaks down and the yellow carotenoid pigments "
        "become visible.",
    ),
]
NO_REFERENCE_LEAKS = [
    (CAPITAL, "Paris", "You should recall which city is the seat of government of France."),
    (CAPITAL, "Paris", "You should think of a comparison, e.g. with other capitals."),
    (CAPITAL, None, "You should recall Paris."),
    (CAPITAL, "", "You should recall Paris."),
    ("Is Paris or Lyon larger?", "Paris", "You should compare the people of Paris and of Lyon."),
    ("Which is larger, 7 or 42?", "42", "You should compare 7 with 42."),
    ("What is six times seven?", "42", "You should take 420 as a first guess of ten times that."),
    ("How many legs has an ant?", "6", "You should answer in 6 words."),
    ("How many legs has an ant?", "3", "You should give 3 short reasons."),
    ("Is ice lighter than water?", "Yes", "You should say yes or no first."),
    ("Can fish fly?", "no", "You should note that no rule is without exception."),
    ("Who will win?", "I don't know.", "You should say that you don't know."),
    (FUJI, "富士山", "You should compare the heights of the mountains of Japan."),
    ("富士山の高さは？", "3776メートル", "You should think of the height of 富士山."),
    ("「富士山」を説明して", "富士山は日本で最も高い山です。", "You should explain 富士山."),
    ("水は何度で凍りますか。", "0度", "You should recall the freezing point of 水."),
    ("Is it hot?", "いいえ", "You should think. いいえ is a word."),
    ("中国最长的河是哪条？", "长江", "You should compare the lengths of the rivers."),
    ("What is a cat?", "a cat", "You should explain what a cat is."),
    ("Name a part of a car.", "art", "You should start with the parts."),
]


@pytest.mark.parametrize(("question", "reference", "reasoning"), REFERENCE_LEAKS)
def test_a_reasoning_that_holds_the_reference_answer_is_found(
    question: str, reference: str, reasoning: str
) -> None:
    ctx = CheckContext(question=question, reference_answer=reference)
    leaks = [f.detail for f in check_reasoning(reasoning, ctx) if f.name == "answer_leak"]
    assert leaks
    assert leaks[0].startswith("reference answer: ")


@pytest.mark.parametrize(("question", "reference", "reasoning"), NO_REFERENCE_LEAKS)
def test_a_reasoning_without_the_reference_answer_is_not_flagged(
    question: str, reference: str | None, reasoning: str
) -> None:
    ctx = CheckContext(question=question, reference_answer=reference)
    assert "answer_leak" not in {f.name for f in check_reasoning(reasoning, ctx)}


HONG_KONG = "香港の観光名所を3つ紹介してください。"
ANSWER_LEAKS = [
    (CAPITAL, "The capital is Paris.", "You should recall that it is Paris."),
    (CAPITAL, "Paris", "You should mention Paris and its river."),
    (CAPITAL, "Paris, on the Seine.", "You should speak of the Seine."),
    ("What is six times seven?", "It is 42.", "You should compute it and say 42."),
    ("When did people first reach the Moon?", "In July 1969.", "You should recall the year 1969."),
    ("Which ocean is largest?", "Pacific Ocean.", "You should think of the Pacific."),
    (
        "Who wrote Don Quixote?",
        "Cervantes wrote it.",
        "You should name Miguel de Cervantes. You should say when Cervantes lived.",
    ),
    ("Name two Swiss lakes.", "Lake Geneva and Lake Zug.", "You should choose, say, Lake Zug."),
    (FUJI, "富士山です。", "You should say 富士山."),
    (FUJI, "日本で一番高い山は富士山で、静岡県と山梨県にあります。", "You should name 富士山."),
    (HONG_KONG, "ビクトリアピークと女人街です。", "You should mention ビクトリアピーク."),
    ("中国最长的河是哪条？", "最长的河是长江。", "You should think of 长江."),
    (
        "彩虹为什么有颜色？",
        "因为阳光在水滴里折射和反射，分成七种颜色。",
        "因为阳光在水滴里折射和反射，分成七种颜色，你应该这样说。",
    ),
    ("Give a tip.", "Use OpenStreetMap for that.", "You should mention OpenStreetMap."),
    (
        "Why do leaves turn yellow?",
        "In autumn the green chlorophyll breaks down while yellow carotenoid pigments remain.",
        "You should write that the green chlorophyll breaks down while yellow carotenoid pigments "
        "remain.",
    ),
    ("Which element has the sign Fe?", "Iron", "You should think of iron."),
]
NO_ANSWER_LEAKS = [
    (CAPITAL, "The capital is Paris.", "You should name the city where the government sits."),
    (CAPITAL, "The capital of France is Paris.", "You should think of France and its cities."),
    (
        "Tell me about the Seine.",
        "The Seine flows through Paris.",
        "You should say where the Seine begins.",
    ),
    ("List three fruits.", "1. apple\n2. pear\n3. plum", "You should list 3 common kinds."),
    ("List three fruits.", "1. apple\n2. pear\n3. plum", "You should give 1 line to each."),
    (
        "How far is it from A to B?",
        "By the Pythagorean theorem it is 5.",
        "You should apply the Pythagorean theorem.",
    ),
    (
        "What is tea?",
        "In Japan and in China tea is a drink made from leaves.",
        "You should explain how Japanese and Chinese people drink it.",
    ),
    (
        "Explain rain.",
        "First, water rises. Then it cools, and it falls.",
        "You should begin with how water rises. Then, you should say what happens when it cools.",
    ),
    ("Why is the sky blue?", "Yes.", "You should answer yes or no."),
    (FUJI, "富士山です。", "You should compare the heights of the mountains of Japan."),
    (FUJI, "山です。", "You should read 日本一高い山 as a superlative."),
    (HONG_KONG, "1. 海港\n2. 山頂\n3. 市場", "You should give 3 places that differ."),
    ("「旬」とは何ですか。", "旬は、食べ物が最もおいしい時期のことです。", "You should define 旬."),
    ("彩虹为什么有颜色？", "因为阳光折射。", "You should think of 彩虹 and of light."),
    ("What should I read?", "I don't know.", "You should say that you don't know."),
    (
        "Explain how the water cycle moves water between oceans and air.",
        "The water cycle moves water between oceans and air by evaporation and rain.",
        "You should explain how the water cycle moves water between oceans and air.",
    ),
    (
        "Write a story.",
        "Once upon a time in May there was an English garden. " * 3,
        "You should set it in May, in an English garden.",
    ),
    (
        "What is love?",
        "Love is a deep care for somebody. "
        + "It grows with time. " * 12
        + "Some say Venus gave it.",
        "You should mention Venus as a myth.",
    ),
]


@pytest.mark.parametrize(("question", "answer", "reasoning"), ANSWER_LEAKS)
def test_a_reasoning_that_holds_the_answer_is_found_from_both_sides(
    question: str, answer: str, reasoning: str
) -> None:
    ctx = CheckContext(question=question)
    assert "answer_leak" in {f.name for f in check_answer(answer, ctx, reasoning)}
    known = CheckContext(question=question, answer=answer)
    assert "answer_leak" in {f.name for f in check_reasoning(reasoning, known)}


@pytest.mark.parametrize(("question", "answer", "reasoning"), NO_ANSWER_LEAKS)
def test_a_reasoning_that_only_guides_is_not_flagged(
    question: str, answer: str, reasoning: str
) -> None:
    ctx = CheckContext(question=question)
    assert "answer_leak" not in {f.name for f in check_answer(answer, ctx, reasoning)}


def test_the_context_of_a_question_is_known_too() -> None:
    ctx = CheckContext(
        question="Where does Aya live?", context="Aya lives in Nara.", reference_answer="Nara"
    )
    reasoning = "You should look for the place in the sentence about Nara."
    assert check_reasoning(reasoning, ctx) == []
