"""The verdict of a round: people first, evidence of no harm, and what is still to be asked."""

import json

import pytest
from typer.testing import CliRunner

from db.database import Database
from db.rounds import decide_round, find_round
from tests.unit.round_lab import write_round
from tests.unit.test_round_duels import judge, make_queue
from tests.unit.verdict_lab import OWN, Values, comparison, fallen, preferred
from workbench.cli.main import app
from workbench.rounds.evidence import DECIDING, Settled
from workbench.rounds.spec import Comparing, Margins, parse_round
from workbench.rounds.text import settled_lines, settled_of, verdict_reason
from workbench.rounds.verdict import VerdictProposal, judge_again, propose
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.samples import PointsSample

SAME = fallen(200, 0)
ASKED = Comparing(well_formed=0.9)


def proposal(
    values: Values, people: PointsSample | None = None, asked: Comparing = ASKED
) -> VerdictProposal:
    return propose(comparison(values, people=people), OWN, asked)


def settled(found: VerdictProposal, measure: str) -> Settled:
    return next(one for one in settled_of(found.findings) if one.measure == measure)


def test_a_fall_from_all_to_none_is_never_kept() -> None:
    found = proposal({"well_formed": fallen(40, 0), "clean": fallen(40, 40)})
    assert found.verdict == "drop"
    assert "Surely worse than base: outputs without a finding." in found.reason


def test_keep_needs_evidence_of_no_harm_and_says_how_many_questions_would_do() -> None:
    few = proposal({"well_formed": fallen(40, 0), "clean": fallen(40, 1)})
    assert few.verdict == "not_enough_questions"
    needed = settled(few, "clean").n_needed
    assert needed is not None
    assert 40 < needed < 200
    assert "outputs without a finding (40 questions; about" in few.reason
    enough = proposal({"well_formed": SAME, "clean": fallen(200, 2, 1)})
    assert enough.verdict == "keep"
    assert "no worse than the margin allows: well-formed outputs, outputs without" in enough.reason


def test_people_come_first() -> None:
    gains = {"well_formed": SAME, "clean": fallen(200, 0, 60)}
    assert proposal(gains).verdict == "keep"
    assert proposal(gains, preferred(60, [0, 0, 1, 0])).verdict == "drop"
    assert proposal(gains, preferred(12, [1, 0])).verdict == "not_enough_questions"
    assert proposal(gains, preferred(60, [1, 1, 0, 1])).verdict == "keep"
    harms = {"well_formed": SAME, "clean": fallen(200, 60)}
    assert proposal(harms).verdict == "drop"
    assert proposal(harms, preferred(60, [1, 1, 0, 1])).verdict == "branch"
    assert next(iter(settled_of(proposal(gains, preferred(9, [1])).findings))).measure == "people"


def test_too_few_well_formed_outputs_are_dropped_unless_there_are_more_than_before() -> None:
    assert proposal({"well_formed": fallen(40, 20)}).verdict == "drop"
    before = [0.0] * 30 + [1.0] * 10
    after = [1.0] * 30 + [0.0] * 10
    assert proposal({"well_formed": (before, after)}).verdict == "branch"


def test_what_is_watched_speaks_against_a_round_only_where_it_is_surely_worse() -> None:
    values = {"well_formed": SAME, "clean": SAME}
    wavers = ([1.0, 0.5] * 12, [0.5, 1.0] * 12)
    assert proposal({**values, "influence": wavers}).verdict == "keep"
    found = proposal({**values, "influence": ([1.0] * 24, [0.8, 0.7] * 12)})
    assert found.verdict == "branch"
    assert found.findings["worse"] == ["influence"]


def test_a_fall_within_the_margin_is_told_and_kept() -> None:
    loss = [1.0, 1.1] * 100
    found = proposal(
        {"well_formed": SAME, "held_out_loss": (loss, [one + 0.02 for one in loss])},
    )
    assert found.verdict == "keep"
    assert "Surely worse, but by less than the margin: held-out loss." in found.reason
    strict = Comparing(margins=Margins(held_out_loss=0.01))
    assert (
        proposal(
            {"well_formed": SAME, "held_out_loss": (loss, [one + 0.02 for one in loss])},
            asked=strict,
        ).verdict
        == "drop"
    )


def test_intervals_beside_the_verdict_say_what_it_says_and_hold_together() -> None:
    """Holm: the more measures, the wider; each that is settled makes the next ones narrower."""
    one = proposal({"well_formed": fallen(60, 0)})
    two = proposal({"well_formed": fallen(60, 0), "clean": fallen(60, 3)})
    assert settled(one, "well_formed").level == pytest.approx(0.95)
    assert settled(two, "well_formed").level == pytest.approx(0.975)
    for found in (one, two):
        for each in settled_of(found.findings):
            assert each.low is not None
            assert each.margin is not None
            assert each.high is not None
            assert (each.outcome == "harmless") == (each.low > -each.margin and each.high >= 0)
    mixed = proposal({"well_formed": SAME, "clean": fallen(40, 2)})
    assert settled(mixed, "well_formed").level == pytest.approx(0.975)
    assert settled(mixed, "clean").level == pytest.approx(0.95)


def test_every_measure_that_decides_has_a_margin_to_set_and_words_in_both_languages() -> None:
    assert set(Margins.model_fields) == set(DECIDING)
    values = {name: fallen(40, 1) for name in DECIDING if name != "people"}
    found = proposal({**values, "well_formed": SAME}, preferred(9, [1, 0.5], raters=2))
    lines = {tongue: settled_lines(found.findings, tongue) for tongue in ("en", "ja")}
    assert len(lines["en"]) == len(lines["ja"]) == len(DECIDING)
    assert "この評価者 2 名" in verdict_reason(found.findings, "ja")
    assert "these raters only: 2" in found.reason
    assert lines["en"][0].measure == "blind comparisons by people"


def test_what_was_not_measured_is_said() -> None:
    reason = proposal({"well_formed": SAME}).reason
    assert "Not measured: held-out loss" in reason
    assert "Nobody has compared them blind yet" in reason


def test_an_old_verdict_stays_readable() -> None:
    findings = {"share": 1.0, "asked": 0.95, "languages": {}, "first": "base"}
    same = verdict_reason({**findings, "better": [], "worse": []}, "en")
    assert same.endswith("No change from base is sure.")
    assert settled_lines({**findings, "better": [], "worse": []}, "en") == []


def test_usual_margins_are_no_new_config_of_a_round() -> None:
    round_ = parse_round({"name": "x", "dataset": "d"})
    assert "margins" not in round_.as_config()["compare"]
    own = parse_round({"name": "x", "dataset": "d", "compare": {"margins": {"people": None}}})
    assert parse_round(own.as_config()) == own
    assert own.compare.margins.people is None


def test_raters_are_a_source_of_chance_once_there_are_enough_of_them() -> None:
    """Eight raters of whom two disagree with the others are no 320 independent judgements."""
    n, raters = 40, 8
    taste = [1.0] * 6 + [0.0] * 2
    crossed = PointsSample(
        question=tuple(q for q in range(n) for _ in range(raters)),
        rater=tuple(range(raters)) * n,
        points=tuple(taste) * n,
    )
    found = crossed.interval()
    assert found.low is not None
    assert found.low < 0.4, "other raters may well prefer the other model"
    few = PointsSample(
        question=crossed.question, rater=(0,) * (n * raters), points=crossed.points
    ).interval()
    assert few.low is not None
    assert few.low > 0.5
    assert raters >= MIN_RATERS


def test_blind_comparisons_change_what_the_figures_speak_for(database: Database) -> None:
    write_round(database, 40, models=("first-base", "first-made"))
    with database.write() as session:
        found = find_round(session, "first")
        assert judge_again(session, found).verdict == "not_enough_questions"
    for item in make_queue(database):
        judge(database, item, "b")
    shown = CliRunner().invoke(app, ["round", "show", "first"])
    assert shown.exit_code == 0, shown.output
    assert "not enough questions" in CliRunner().invoke(app, ["round", "list"]).stdout
    assert "Its figures now: drop." in shown.stdout
    assert "blind comparisons by people" in shown.stdout
    told = json.loads(CliRunner().invoke(app, ["round", "show", "first", "--json"]).stdout)
    assert told["verdict"] == "not_enough_questions"
    assert told["figures_now"]["verdict"] == "drop"
    assert told["figures_now"]["settled"][0]["outcome"] == "worse"
    again = json.loads(CliRunner().invoke(app, ["round", "judge", "first", "--json"]).stdout)
    assert again["verdict"] == "drop"
    with database.write() as session:
        decide_round(session, found.id, "keep", "I like it.")
    told = json.loads(CliRunner().invoke(app, ["round", "show", "first", "--json"]).stdout)
    assert (told["verdict"], told["reason"]) == ("keep", "I like it.")


def test_a_reason_that_ratings_have_overtaken_is_told_though_the_verdict_stays(
    database: Database,
) -> None:
    write_round(database, 20, models=("first-base", "first-made"))
    with database.write() as session:
        found = judge_again(session, find_round(session, "first"))
    assert found.reason is not None
    assert "Nobody has compared them blind yet" in found.reason
    shown = CliRunner().invoke(app, ["round", "show", "first"])
    assert "Its figures now" not in shown.stdout
    items = make_queue(database)
    for place, rater in ((0, "Aki"), (1, "Aki"), (1, "Ben")):
        for item in items[place::2]:
            judge(database, item, "a" if item.target.question_id % 2 else "b", rater)
    shown = CliRunner().invoke(app, ["round", "show", "first"])
    assert "Its figures now: not enough questions." in shown.stdout
    assert "The blind comparisons tell of these raters only: 2." in shown.stdout
    CliRunner().invoke(app, ["round", "judge", "first"])
    shown = CliRunner().invoke(app, ["round", "show", "first"])
    assert "Its figures now" not in shown.stdout
    assert "compared them blind yet" not in shown.stdout


def test_the_command_line_tells_blind_comparisons_with_their_intervals(database: Database) -> None:
    write_round(database, 12)
    for item in make_queue(database):
        for rater in ("Aki", "Ben"):
            judge(database, item, "b", rater)
    shown = CliRunner().invoke(app, ["round", "show", "first"]).stdout
    assert "People surely prefer base to round-first." in shown
    assert "For these raters" in shown
    assert "Share of points 0 % (0 % … " in shown
    assert "  rater 2: 0 % (0 % … " in shown
