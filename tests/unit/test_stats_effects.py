"""Main effects, sampling names, diversity: what they must find, and what they must not claim."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from workbench.insights.effects import Effects, comparison_effects, value_effects
from workbench.stats.comparisons import (
    FACTORS,
    comparison_table,
    origins_table,
    sampling_names,
)
from workbench.stats.diversity import (
    best_set,
    mean_difference,
    number_of_different,
    similarity,
)
from workbench.stats.mixed_effects import expected_points

FORMAT, MODEL = {"chat": 0.0, "tagged": 0.8}, {"large": 1.0, "small": 0.0}


def crossed(random: np.random.Generator, n_questions: int, *, is_tangled: bool) -> pd.DataFrame:
    """Return comparisons of all texts of a crossed design, left side preferred a little."""
    levels = [pair for pair in product(FORMAT, MODEL) if not is_tangled or _same(pair)]
    rows = []
    for question in range(n_questions):
        for (fa, ma), (fb, mb) in product(levels, levels):
            a_left = float(random.random() < 0.5)
            lead = FORMAT[fa] + MODEL[ma] - FORMAT[fb] - MODEL[mb] + 0.5 * (2 * a_left - 1)
            won = float(random.random() < expit(lead))
            a, b = (10 * question + levels.index(level) for level in ((fa, ma), (fb, mb)))
            rows.append((question, a, b, fa, fb, ma, mb, won))
    names = ["question_id", "a", "b", "format_a", "format_b", "model_a", "model_b", "points"]
    return pd.DataFrame(rows, columns=names)


def _same(pair: tuple[str, str]) -> bool:
    return pair in (("chat", "large"), ("tagged", "small"))


def changes(found: Effects | None) -> dict[str, float]:
    assert found is not None
    return {one.level: one.change.value for one in found.effects}


def test_effects_of_crossed_factors_are_told_apart() -> None:
    pairs = crossed(np.random.default_rng(0), 300, is_tangled=False)
    found = comparison_effects(pairs, ["format", "model"])
    # Two levels 0.8 apart lie 0.4 from their mean.
    assert changes(found)["tagged"] == pytest.approx(expit(0.4) - 0.5, abs=0.02)
    assert changes(found)["large"] == pytest.approx(expit(0.5) - 0.5, abs=0.02)
    assert changes(found)["chat"] == pytest.approx(-changes(found)["tagged"])
    assert found is not None
    tagged = next(one.change for one in found.effects if one.level == "tagged")
    assert tagged.low is not None
    assert tagged.high is not None
    assert tagged.low < expit(0.4) - 0.5 < tagged.high
    assert 0.02 < tagged.high - tagged.low < 0.1


def test_factors_that_changed_together_are_not_told_apart() -> None:
    pairs = crossed(np.random.default_rng(0), 40, is_tangled=True)
    assert comparison_effects(pairs, ["format", "model"]) is None
    pairs = pairs.assign(role_a="creator", role_b="logician")
    found = comparison_effects(pairs, ["format", "model", "role"])
    assert found is not None
    assert found.entangled == ("format", "model")
    assert {one.factor for one in found.effects} == {"role"}


def test_effects_of_six_factors_are_not_drawn_to_nothing_by_their_many_combinations() -> None:
    factors, effect = [f"f{i}" for i in range(6)], np.array([0.6, 0.0, -0.6])
    found = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        rows = []
        for question in range(100):
            levels = random.integers(3, size=(4, 6))
            quality = effect[levels].sum(axis=1) + random.normal(0, 0.6, 4)
            for _ in range(4):
                i, j = random.choice(4, 2, replace=False)
                won = float(random.random() < expit(quality[i] - quality[j]))
                rows.append([question, 10 * question + i, 10 * question + j, won])
                rows[-1] += [*map(str, levels[i]), *map(str, levels[j])]
        sides = [f"{factor}_{side}" for side in "ab" for factor in factors]
        pairs = pd.DataFrame(rows, columns=["question_id", "a", "b", "points", *sides])
        effects = comparison_effects(pairs, factors)
        assert effects is not None
        found += [one.change.value for one in effects.effects if one.level == "0"]
        assert all(-0.5 < (one.change.low or 0) < 0.5 for one in effects.effects)
    true = expected_points(np.array(0.6), 0.6 * np.sqrt(2)) - 0.5
    assert np.mean(found) == pytest.approx(true, abs=0.02)


def test_a_single_level_has_no_effect() -> None:
    pairs = crossed(np.random.default_rng(0), 3, is_tangled=False)
    assert comparison_effects(pairs.assign(format_a="x", format_b="x"), ["format"]) is None


def test_effects_on_an_axis_do_not_fall_for_hard_questions_or_strict_raters() -> None:
    random = np.random.default_rng(1)
    rows = []
    for question in range(80):
        hard = random.normal(0, 2)
        for level, add in (("chat", 0.0), ("tagged", 1.0)):
            # The strict rater 2 mostly meets the better level.
            rater = 2 if random.random() < (0.8 if level == "tagged" else 0.2) else 1
            value = 3 + hard + add - (2 if rater == 2 else 0) + random.normal(0, 0.3)
            rows.append((question, rater, level, value))
    values = pd.DataFrame(rows, columns=["question_id", "rater_id", "format", "value"])
    found = changes(value_effects(values, "clear", ["format"]))
    assert found["tagged"] == pytest.approx(0.5, abs=0.1)
    naive = values.groupby("format")["value"].mean()
    assert naive["tagged"] - naive["chat"] < 0.5


def test_sampling_levels_are_named_by_what_differs() -> None:
    base = {"temperature": 0.8, "top_p": 0.95, "seed": None}
    assert sampling_names({1: base, 2: {**base, "temperature": 0.2}}) == {
        1: "temperature 0.8",
        2: "temperature 0.2",
    }
    assert sampling_names({1: base}) == {1: "temperature 0.8"}
    assert sampling_names({1: base, 2: {**base, "seed": 7}})[1] == "seed –"


def test_each_sampling_parameter_is_a_factor_of_its_own() -> None:
    """Both parameters change; temperature counts, top-p does not."""
    random = np.random.default_rng(2)
    settings = list(product((0.2, 0.8), (0.9, 1.0)))
    samplings = {
        number: {"temperature": temperature, "top_p": top_p}
        for number, (temperature, top_p) in enumerate(settings)
    }
    n_questions, n = 80, 4
    ids = np.arange(n_questions * n)
    origins = {"text_id": ids, "n_characters": ids * 0 + 9, "sampling_id": ids % n}
    names = ("format", "role", "model", "weights", "mode", "source", "reasoning_model")
    origins |= {name: ["x"] * len(ids) for name in names}
    origins |= {name: [None] * len(ids) for name in ("precision", "reasoning_sampling_id")}
    table = origins_table(origins, samplings)
    a, b = (random.integers(n, size=600) for _ in range(2))
    question = random.integers(n_questions, size=600)
    calm = np.array([temperature == 0.2 for temperature, _ in settings])
    pairs = pd.DataFrame({"question_id": question, "a": question * n + a, "b": question * n + b})
    pairs = pairs.assign(points=random.random(600) < expit(1.5 * (calm[a] * 1.0 - calm[b])))
    pairs = pairs[pairs["a"] != pairs["b"]].astype({"points": float})
    for side, name in product("ab", FACTORS):
        pairs[f"{name}_{side}"] = pairs[side].map(table[name])
    found = comparison_effects(pairs, FACTORS)
    assert found is not None
    ends = {(one.factor, one.level): one.change for one in found.effects}
    levels = {"temperature": ("0.2", "0.8"), "top_p": ("0.9", "1")}
    assert set(ends) == {(name, f"{name} {at}") for name, pair in levels.items() for at in pair}
    assert ends["temperature", "temperature 0.2"].low is not None
    assert ends["temperature", "temperature 0.2"].low > 0.05
    assert abs(ends["top_p", "top_p 0.9"].value) < 0.06
    # Always changed together, neither is told apart; the others still are.
    tied = pairs.assign(top_p_a=pairs["temperature_a"], top_p_b=pairs["temperature_b"])
    assert comparison_effects(tied, FACTORS) is None


def test_precision_is_a_factor_only_where_some_weights_were_served_in_several() -> None:
    def levels(*versions: tuple[str, str | None, str | None]) -> list[tuple[str, str | None]]:
        names = ("format", "role", "mode", "source", "reasoning_model", "reasoning_sampling_id")
        model, weights, precision = zip(*versions, strict=True)
        origins = {name: [None] * len(versions) for name in (*names, "sampling_id")}
        origins |= {"text_id": range(len(versions)), "n_characters": [9] * len(versions)}
        origins |= {"model": model, "weights": weights, "precision": precision}
        table = origins_table(origins, {1: {}})
        return list(zip(table["model"], table["precision"], strict=True))

    phi, phi_fp8 = ("phi", "phi", "bf16"), ("phi@fp8", "phi", "fp8")
    teacher, person = ("teacher", "teacher", None), (None, None, None)
    assert levels(phi_fp8, teacher, person) == [("phi@fp8", None), ("teacher", None), (None, None)]
    assert levels(phi, phi_fp8, teacher, person) == [
        ("phi", "bf16"), ("phi", "fp8"), ("teacher", "bf16"), (None, None),
    ]  # fmt: skip


def test_answers_without_a_reasoning_leave_its_writers_told_apart() -> None:
    """Who wrote the reasoning is no question for them; that they have none is the mode's effect."""
    random = np.random.default_rng(0)
    strength = {("direct", None): 0.0, ("reasoning", "big"): 1.5, ("reasoning", "small"): 0.5}
    kinds = list(strength)
    rows = []
    for question in range(150):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            won = float(random.random() < expit(strength[kinds[i]] - strength[kinds[j]]))
            rows.append((question, 3 * question + i, 3 * question + j, *kinds[i], *kinds[j], won))
    names = ("question_id", "a", "b", "mode_a", "reasoning_model_a", "mode_b", "reasoning_model_b")
    pairs = pd.DataFrame(rows, columns=[*names, "points"])
    found = comparison_effects(pairs, ["mode", "reasoning_model"])
    assert found is not None
    assert found.entangled == ()
    # Either lies half of their distance from their mean: 1 apart.
    assert changes(found)["reasoning"] == pytest.approx(expit(0.5) - 0.5, abs=0.04)
    assert changes(found)["big"] == pytest.approx(expit(0.5) - 0.5, abs=0.04)


def test_values_that_all_say_the_same_have_an_interval_that_is_not_nothing() -> None:
    rows = [(q, 1, level, value) for q in range(40) for level, value in (("x", 4.0), ("y", 2.0))]
    values = pd.DataFrame(rows, columns=["question_id", "rater_id", "format", "value"])
    found = value_effects(values, "clear", ["format"])
    assert found is not None
    change = next(one.change for one in found.effects if one.level == "x")
    assert change.low is not None
    assert change.high is not None
    assert 0.8 < change.low < 1.0 < change.high < 1.2


def test_a_comparison_is_turned_so_that_the_smaller_id_comes_first() -> None:
    judged = pd.DataFrame(
        {
            "rater_id": [1, 1, 1],
            "question_id": [1, 1, 1],
            "variant_id": [1, 2, 1],
            "text_id": [1, 2, 1],
            "other_id": [2, 1, 2],
            "axis": ["preference"] * 3,
            "value": [None] * 3,
            "outcome": ["a", "a", "both_bad"],
            "blind": [True, True, False],
            "swapped": [False, False, True],
            "answer_seen": [False, True, False],
            "sampler": [None] * 3,
            "seconds": [None] * 3,
            "item_id": [1, 2, 3],
            "repeat_of_id": [None] * 3,
            "is_adjudication": [False] * 3,
            "is_overruled": [False] * 3,
        }
    )
    names = ("format", "role", "model", "weights", "precision", "mode", "source")
    told = {factor: ["x", None] for factor in names}
    told |= {"reasoning_model": [None, None], "reasoning_sampling_id": [None, None]}
    origins = {"text_id": [1, 2], "n_characters": [5, 9], "sampling_id": [1, None], **told}
    table = comparison_table(judged, origins_table(origins, {1: {"temperature": 1}}), "reasoning")
    assert table["temperature_a"].tolist() == ["temperature 1"] * 3
    assert table["temperature_b"].isna().all()
    assert table["reasoning_model_a"].isna().all()
    assert table["points"].tolist()[:2] == [1.0, 0.0]
    assert np.isnan(table["points"].iloc[2])
    assert table["a_left"].tolist() == [1.0, 0.0, 0.0]
    assert table["ranks"].tolist() == [True, False, False]
    assert table["format_a"].tolist() == ["x"] * 3
    assert table["format_b"].isna().all()


def test_the_number_of_different_texts_is_one_for_copies_and_n_for_strangers() -> None:
    copies = ["Think of water.", "THINK  of water.", "Ｔhink of water."]
    assert number_of_different(similarity(copies)) == pytest.approx(1)
    strangers = ["abcdef", "uvwxyz", "水の循環を考える"]
    assert number_of_different(similarity(strangers)) == pytest.approx(3)
    assert 1.5 < number_of_different(similarity([*copies, strangers[1]])) < 2
    assert mean_difference(similarity(strangers)) == pytest.approx(1)
    assert np.isnan(mean_difference(similarity(["one"])))
    assert similarity(["", ""]).tolist() == [[1, 0], [0, 1]]


def test_the_best_set_is_not_the_best_ones() -> None:
    texts = ["Start from the sun.", "Start from the sun!", "Ask who pays, and when."]
    chosen = best_set(np.array([0.9, 0.85, 0.5]), similarity(texts), size=2)
    assert chosen == [0, 2]
    assert best_set(np.array([0.9, 0.85, 0.5]), similarity(texts), size=9) == [0, 2, 1]
