"""Rounds compared: form, spread, "I don't know", paired changes, and the report of them."""

import numpy as np
import pytest
from scipy.stats import binomtest

from db.database import Database
from db.errors import UsageError
from db.questions import QuestionFilter, question_ids
from db.rounds import decide_round
from db.tables import Question, Tag
from db.tables.library import QuestionTag
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab
from tests.unit.round_lab import write_round
from workbench.rounds.comparison import Change, compare, compare_round, measure
from workbench.rounds.completions import OnePassOutput
from workbench.rounds.evidence import _by_question, wins_of
from workbench.rounds.report import plots, report, round_page
from workbench.rounds.spec import Comparing
from workbench.rounds.text import measure_help, measure_label, win_lines
from workbench.rounds.verdict import propose
from workbench.stats.samples import PairedSample

HOSTILE = "<script>alert(1)</script>"


def written(question_id: int, **values: object) -> OnePassOutput:
    given = {
        "language": "en",
        "format": "tagged@1",
        "model_id": 1,
        "model": "m",
        "is_greedy": True,
        "reasoning": "You should look.",
        "response": "It is blue.",
        "problem": None,
        "stopped": True,
        "n_tokens": 10,
        "findings": frozenset(),
    }
    return OnePassOutput(question_id=question_id, **{**given, **values})  # type: ignore[arg-type]


def test_form_is_told_by_the_greedy_completions_and_spread_by_the_others() -> None:
    texts = [written(1), written(2, problem="no response tag"), written(3, stopped=False)]
    for i, word in enumerate(("red", "green", "blue")):
        texts.append(
            written(
                1,
                is_greedy=False,
                problem="x",
                reasoning=f"You should say {word} {word} {word}.",
                response=f"The colour of it is {word} {word} {word}." * (i + 1),
            )
        )
    found = measure(texts, hopeless={3})
    assert found["well_formed"] == {1: 1.0, 2: 0.0, 3: 0.0}
    assert set(found["reasonings"]) == {1}
    assert 1 < found["reasonings"][1] <= 3
    assert -1 <= found["follows"][1] <= 1


def test_answers_that_move_with_their_reasonings_are_told_from_those_that_do_not() -> None:
    words = (
        "Look at the river first, and then at its banks.",
        "Look at the river first, and then at the bridges.",
        "Ask who pays for the lamps of the town.",
        "Count how many trains leave before noon.",
    )
    heeds = [written(1, is_greedy=False, reasoning=w, response=f"{w}!") for w in words]
    deaf = [
        written(1, is_greedy=False, reasoning=w, response=r)
        for w, r in zip(
            words, (words[3], words[2], words[3] + " Then wait.", words[0]), strict=True
        )
    ]
    assert measure(heeds, set())["follows"][1] > 0.95
    assert measure(deaf, set())["follows"][1] < 0.5


def test_not_knowing_counts_apart_where_nobody_can_know() -> None:
    admits = frozenset({"dont_know"})
    found = measure([written(1, findings=admits), written(2, findings=admits)], hopeless={1})
    assert found["dont_know_unanswerable"] == {1: 1.0}
    assert found["dont_know_answerable"] == {2: 1.0}
    assert found["clean"] == {1: 1.0, 2: 1.0}


def test_a_change_says_whether_it_is_for_the_better() -> None:
    from workbench.stats.intervals import Estimate

    def change(name: str, low: float, high: float) -> bool | None:
        found = Estimate((low + high) / 2, low, high)
        sample = PairedSample(before=(0.0,), after=(0.0,), is_share=True)
        return Change(measure=name, found=found, n_questions=9, sample=sample).is_better

    assert change("well_formed", 0.1, 0.3) is True
    assert change("answer_leak", 0.1, 0.3) is False
    assert change("answer_leak", -0.3, -0.1) is True
    assert change("well_formed", -0.1, 0.3) is None
    assert change("tokens", 5, 9) is None


def _by_model(prompt: str, choice_index: int, seed: int | None) -> str:
    return f"You should look twice {HOSTILE}.\n<|response|>It is blue {choice_index}."


def _without_tag(prompt: str, choice_index: int, seed: int | None) -> str:
    return "It is blue, and nothing more is said of it."


async def test_two_models_are_compared_question_by_question(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 6, models=("base", "round"))
    levels = [{"temperature": 0}, {"temperature": 0.9}]
    spec = {"variants": 3, "one_pass": True, "reasoning_sampling": levels}
    fake_server.models = ("base", "round")
    fake_server.text = _without_tag
    base = lab.save(database, models=["base"], **spec)
    await lab.run(database, base, fake_server.endpoint, "base", "round")
    fake_server.text = _by_model
    both = lab.save(database, models=["base", "round"], **spec)
    await lab.run(database, both, fake_server.endpoint, "base", "round")
    with database.write() as session:
        session.add(Tag(id=77, name="unanswerable"))
        session.flush()
        session.add(QuestionTag(question_id=1, tag_id=77))
    with database.read() as session:
        found = compare(session, both, order=[1, 2])
        page = report(session, found, title=HOSTILE, facts=[("verdict", "keep")])
    first, second = found.models
    assert (first.model, second.model) == ("base", "round")
    shares = {figure.measure: figure.found.value for figure in first.figures}
    assert shares["well_formed"] == 0.0
    change = next(one for one in second.changes if one.measure == "well_formed")
    assert (change.found.value, change.n_questions) == (1.0, 6)
    assert found.n_unanswerable == 1
    assert (found.has_greedy, found.has_sampled) == (True, True)
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "Well-formed outputs" in page
    assert "&lt;script&gt;" in page


def test_a_sweep_of_two_passes_cannot_be_compared(database: Database) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database)
    with database.read() as session, pytest.raises(UsageError, match="one_pass: true"):
        compare(session, sweep_id)


def test_a_sweep_can_ask_for_the_held_out_questions(database: Database) -> None:
    lab.fill(database, 3)
    with database.write() as session:
        session.get_one(Question, 2).held_out = True
        session.get_one(Question, 3).held_out = False
    with database.read() as session:
        assert question_ids(session, QuestionFilter(held_out=True)) == [2]
        assert question_ids(session, QuestionFilter(held_out=False)) == [1, 3]
    assert np.isfinite(lab.save(database, questions={"held_out": True}))


def test_the_report_is_in_japanese_with_a_plot_and_a_sentence_of_each_figure(
    database: Database,
) -> None:
    found = write_round(database, 6, silent=[0, 1, 2, 3, 4], languages=("en", "ja"))
    with database.write() as session:
        comparison = compare_round(session, found)
        own = found.merged_model_version_id
        assert own is not None
        proposal = propose(comparison, own, Comparing())
        decide_round(
            session, found.id, proposal.verdict, proposal.reason, findings=proposal.findings
        )
    with database.read() as session:
        page = round_page(session, "first", "ja")
        english = round_page(session, "first")
    assert '<html lang="ja">' in page
    for words in (
        "ラウンド first",
        "質問不足：出力の 100 % が正しい形式です（英語 100 %、日本語 100 %）",
        "判断の根拠",
        "許容幅に収まるとまだ示されていないもの",
    ):
        assert words in page
    told = "100 % of its outputs are well-formed (English 100 %, Japanese 100 %)"
    assert f"not enough questions: {told}" in english
    shown = plots(comparison)
    assert page.count('class="dot"') == sum(len(plot.lines) for plot in shown)
    assert {"well_formed", "tokens", "reasonings"} <= {plot.measure for plot in shown}
    for plot in shown:
        assert measure_label(plot.measure, "ja") in page
        assert measure_help(plot.measure, "ja") in page
        assert plot.place(plot.low) == "0.0%"
        assert plot.place(plot.high) == "100.0%"
    assert "100 % (0 % …" not in page, "no doubt is shown as all doubt"
    well_formed = next(plot for plot in shown if plot.measure == "well_formed")
    assert [line.way for line in well_formed.lines] == ["open", "open"], "5 of 6: p = 0.0625"


def test_questions_won_tied_and_lost_are_counted_with_the_interval_of_an_independent_reference(
    database: Database,
) -> None:
    """The base forgets the tag in 5 of 12 questions; its round in none."""
    found = write_round(database, 12, silent=range(5))
    with database.read() as session:
        comparison = compare_round(session, found)
    wins = {one.measure: one for one in wins_of(comparison, found.merged_model_version_id)}
    form = wins["well_formed"]
    assert (form.n_won, form.n_tied, form.n_lost, form.n_questions) == (5, 7, 0, 12)
    for count, share in ((5, form.won), (7, form.tied), (0, form.lost)):
        wilson = binomtest(count, 12).proportion_ci(0.95, method="wilson")
        assert (share.low, share.high) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    assert form.won.value + form.tied.value + form.lost.value == pytest.approx(1)
    lines = win_lines(comparison, found.merged_model_version_id, "en")
    line = next(one for one in lines if one.measure == "well-formed outputs")
    assert line.won.startswith("5 · 42 % (")
    assert line.judged_on == "12 held-out questions"
    assert win_lines(comparison, None, "en") == []


def test_a_measure_ties_below_its_resolution_and_lower_may_be_better() -> None:
    def change(measure: str, after: tuple[float, ...], resolution: float) -> Change:
        sample = PairedSample(
            before=(1.0,) * len(after), after=after, is_share=False, resolution=resolution
        )
        return Change(
            measure=measure, found=sample.interval(), n_questions=len(after), sample=sample
        )

    counts = [
        _by_question(change("held_out_loss", (0.5, 0.995, 1.2), 0.01), "base"),
        _by_question(change("reasonings", (2.5, 1.6, 0.0), 1.0), "base"),
    ]
    assert [(one.n_won, one.n_tied, one.n_lost) for one in counts] == [(1, 1, 1), (1, 1, 1)]
