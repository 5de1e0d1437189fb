"""Scoring runs on a fake server: pairs planned, sent, stored once, resumed, refused, cancelled."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.database import Database
from db.errors import UsageError
from db.questions import get_questions
from db.search import search_ids
from db.tables import ReasoningVariant
from db.texts.matrix import MatrixFilter, cells_of, matrix
from db.texts.scores import score_mark
from serving.engine.messages import Capabilities, EngineUnavailable
from serving.formats.definitions import Completion, PromptFields
from serving.formats.library import load_definitions
from serving.formats.render import render_example
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.answers import WITHHELD
from serving.scoring.spec import ScoreSpec
from serving.sweeps.selection import select_reasonings
from serving.sweeps.spec import ReasoningSelection
from tests.fakes.server import FakeServer
from tests.unit import score_lab
from tests.unit import sweep_lab as lab
from workbench.insights.reasoning import LevelReport, read_reasoning_report

PAIRS_EACH = 2 * (2 + 6) + 2 * 3
"""Of a question with two reasonings and an answer each: under all, and with it withheld."""


@pytest.fixture(scope="session")
def tokenizer(embedded_model: Path) -> PromptTokenizer:
    return PromptTokenizer.load(embedded_model)


@pytest.fixture
def store(database: Database) -> Database:
    lab.fill(database, 0)
    for word, other in (("river", "mountain"), ("apple", "table"), ("dog", "cat")):
        score_lab.add(
            database,
            f"Which do you say, {word} or {other}?",
            {f"You should really say {one}.": [one] for one in (word, other)},
        )
    return database


def n_scores(database: Database, condition: str = "1 = 1") -> int:
    return int(lab.scalar(database, f"SELECT count(*) FROM answer_score WHERE {condition}"))


def level(database: Database, spec: ScoreSpec = score_lab.BY_PEOPLE) -> LevelReport:
    with database.read() as session:
        (found,) = read_reasoning_report(session, spec).levels
    return found


def obeys(tokenizer: PromptTokenizer) -> Any:
    """Return a model that finds a word of which the prompt has said "say …" very likely."""

    def log_prob(prompt: Sequence[int], place: int) -> float:
        text = tokenizer.decode(prompt[:place])
        word = tokenizer.decode([prompt[place]]).strip()
        return -0.5 if word and f"say {word}" in text.split("<|reasoning|>")[-1] else -6.0

    return log_prob


async def test_every_pair_has_one_score_and_a_second_run_asks_nothing(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    told: list[tuple[int, int, str]] = []
    first = await score_lab.score(
        store, fake_server.endpoint, tokenizer, on_progress=lambda *one: told.append(one)
    )
    assert (first.pairs, first.scored, first.new, first.failed) == (3 * PAIRS_EACH,) * 3 + (0,)
    assert n_scores(store) == 3 * PAIRS_EACH
    assert told[-1] == (3 * PAIRS_EACH, 3 * PAIRS_EACH, "scoring")
    count = fake_server.count
    again = await score_lab.score(store, fake_server.endpoint, tokenizer)
    assert (again.scored, again.new) == (3 * PAIRS_EACH, 0)
    assert fake_server.count == count
    assert lab.scalar(store, "SELECT count(*) FROM reasoning_variant WHERE source = 'control'") == (
        3 * 2 * 3
    )


async def test_more_reasonings_cost_only_what_is_new(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    spec = score_lab.BY_PEOPLE.model_copy(update={"controls": False, "leak": False})
    await score_lab.score(store, fake_server.endpoint, tokenizer, spec)
    assert n_scores(store) == 3 * 2 * 2
    more = await score_lab.score(store, fake_server.endpoint, tokenizer)
    assert more.new == 3 * (PAIRS_EACH - 4)


async def test_the_ids_that_are_scored_are_those_that_are_learned_and_served(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    spec = score_lab.BY_PEOPLE.model_copy(update={"format": "tagged@1"})
    await score_lab.score(store, fake_server.endpoint, tokenizer, spec)
    example = render_example(
        load_definitions().format("tagged"),
        "answer",
        PromptFields(
            system=lab.scalar(store, "SELECT system FROM role WHERE name = 'assistant'"),
            question="Which do you say, river or mountain?",
            reasoning="You should really say river.",
        ),
        Completion(response="mountain"),
        tokenizer,
    )
    sent = [prompt for request in fake_server.requests for prompt in prompts_of(request)]
    assert list(example.token_ids) in sent
    row = lab.rows(
        store,
        "SELECT s.log_prob, s.n_tokens, length(p.token_ids) / 4 FROM answer_score s"
        " JOIN prompt p ON p.id = s.prompt_id JOIN answer a ON a.id = s.answer_id"
        " JOIN reasoning_variant v ON v.id = s.variant_id WHERE a.text = 'mountain'"
        " AND v.text = 'You should really say river.' AND NOT s.question_withheld",
    )
    (log_prob, n_tokens, n_prompt), *_ = row
    ids = example.token_ids
    assert n_tokens + n_prompt == len(ids)
    own = [fake_server.log_prob(ids, place) for place in range(n_prompt, len(ids))]
    assert log_prob == pytest.approx(sum(own))


def prompts_of(request: dict[str, Any]) -> list[list[int]]:
    prompt = request["prompt"]
    return prompt if isinstance(prompt[0], list) else [prompt]


async def test_a_withheld_question_is_not_in_the_prompt(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    await score_lab.score(store, fake_server.endpoint, tokenizer)
    texts = "SELECT p.text FROM answer_score s JOIN prompt p ON p.id = s.prompt_id WHERE "
    blind = [row[0] for row in lab.rows(store, texts + "s.question_withheld")]
    seen = [row[0] for row in lab.rows(store, texts + "NOT s.question_withheld")]
    assert not any("Which do you say" in text for text in blind)
    assert all(WITHHELD in text for text in blind)
    assert all("Which do you say" in text for text in seen)


async def test_reasonings_that_decide_are_told_from_those_that_do_not(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    fake_server.log_prob = obeys(tokenizer)
    for word, other in (("bread", "milk"), ("king", "queen"), ("gold", "iron")):
        score_lab.add(
            store,
            f"Which do you say, {word} or {other}?",
            {f"You should really say {one}.": [one] for one in (word, other)},
        )
    spec = score_lab.BY_PEOPLE.model_copy(update={"format": "tagged@1"})
    await score_lab.score(store, fake_server.endpoint, tokenizer, spec)
    found = level(store, spec)
    assert (found.n_scored, found.limit) == (6, 1.0)
    assert found.scores["own"].bits.value > 0.8
    assert found.scores["own"].p < 0.05
    assert abs(found.scores["foreign"].bits.value) < 0.05
    assert abs(found.scores["truncated"].bits.value) < 0.05
    assert found.verdict in ("input", "words", "input_unsorted")
    assert found.leak is not None
    assert found.leak.own.value > found.leak.foreign.value


async def test_a_model_that_does_not_heed_the_reasoning_makes_it_an_output(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    fake_server.log_prob = lambda prompt, place: -float(prompt[place] % 7)
    await score_lab.score(store, fake_server.endpoint, tokenizer)
    found = level(store)
    assert found.scores["own"].bits.value == pytest.approx(0, abs=1e-6)
    assert found.verdict == "unclear"
    assert [(one.what, one.has, one.needs) for one in found.missing] == [
        ("different", found.n_different, 30),
        ("sampling", 0, 30),
    ]
    assert found.leak is not None
    assert not found.leak.flagged


async def test_what_is_too_long_is_stored_said_and_not_tried_again(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    score_lab.add(store, "Long?", {"You should " + "think " * 600: ["no"], "Stop.": ["yes"]})
    given: dict[str, Any] = {"context_length": 400}
    spec = score_lab.BY_PEOPLE.model_copy(update={"controls": False, "leak": False})
    found = await score_lab.score(store, fake_server.endpoint, tokenizer, spec, **given)
    assert (found.failed, found.new) == (2, 14)
    assert n_scores(store, "error LIKE 'Too long: prompt and answer have %'") == 2
    count = fake_server.count
    again = await score_lab.score(store, fake_server.endpoint, tokenizer, spec, **given)
    assert (again.failed, again.new, fake_server.count) == (2, 0, count)
    retry = spec.model_copy(update={"retry": True})
    with store.read() as session:
        mark = score_mark(session)
    cured = await score_lab.score(store, fake_server.endpoint, tokenizer, retry)
    assert (cured.failed, cured.new, n_scores(store, "error IS NOT NULL")) == (0, 2, 0)
    with store.read() as session:
        assert read_reasoning_report(session, spec).errors == ()
        assert score_mark(session) != mark


@pytest.mark.parametrize(
    "faults", [("error_500", "garbage"), ("few_choices",), ("reset", "drop"), ("stall",)]
)
async def test_odd_answers_of_a_server_lose_no_pair_for_good(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer, faults: tuple[Any, ...]
) -> None:
    fake_server.script(*faults)
    await score_lab.score(store, fake_server.endpoint, tokenizer, timeout_s=0.3)
    retry = score_lab.BY_PEOPLE.model_copy(update={"retry": True})
    # The faults are over: a busy machine is given the time that it needs.
    found = await score_lab.score(store, fake_server.endpoint, tokenizer, retry)
    assert (found.scored, found.failed) == (3 * PAIRS_EACH, 0)
    assert n_scores(store) == n_scores(store, "error IS NULL") == 3 * PAIRS_EACH


async def test_a_server_that_is_gone_ends_the_run_with_a_sentence_and_it_can_go_on(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    endpoint = fake_server.endpoint
    fake_server.stop()
    with pytest.raises(EngineUnavailable, match="start the job again"):
        await score_lab.score(store, endpoint, tokenizer)
    fake_server.start()
    found = await score_lab.score(store, fake_server.endpoint, tokenizer)
    assert found.scored == found.new == 3 * PAIRS_EACH


async def test_a_cancelled_run_keeps_what_came_and_goes_on(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    fake_server.default, fake_server.slow_s = "slow", 0.05
    cancelled = asyncio.Event()
    stopped = await score_lab.score(
        store,
        fake_server.endpoint,
        tokenizer,
        cancelled=cancelled,
        max_num_seqs=2,
        on_progress=lambda done, total, message: cancelled.set() if done else None,
    )
    kept = n_scores(store)
    assert stopped.cancelled
    assert 0 < kept < 3 * PAIRS_EACH
    found = await score_lab.score(store, fake_server.endpoint, tokenizer)
    assert (found.new, found.scored) == (3 * PAIRS_EACH - kept, 3 * PAIRS_EACH)


async def test_without_log_probabilities_the_words_are_compared(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    score_lab.add(
        store,
        "What is seen?",
        {
            "You should look up.": ["The sky is blue.", "The sky is so blue."],
            "You should look down.": ["Grass grows in fields.", "Grass grows in the fields."],
        },
    )
    can = Capabilities(prompt_logprobs=False)
    found = await score_lab.score(store, fake_server.endpoint, tokenizer, capabilities=can)
    assert (found.new, fake_server.count) == (0, 0)
    assert "gives no log-probabilities" in found.unable[0]
    told = level(store)
    assert told.scores == {}
    assert told.distance is not None
    assert told.distance.between.value > told.distance.within.value


async def test_controls_are_seen_nowhere_else(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    with store.read() as session:
        before = [(row.n_variants, row.n_answers) for row in get_questions(session, [1, 2, 3])]
    await score_lab.score(store, fake_server.endpoint, tokenizer)
    with store.read() as session:
        controls = set(
            session.scalars(
                ReasoningVariant.__table__.select()
                .with_only_columns(ReasoningVariant.id)
                .where(ReasoningVariant.source == "control")
            )
        )
        chosen = select_reasonings(session, ReasoningSelection(), [1, 2, 3], {"assistant"})
        rows = get_questions(session, [1, 2, 3])
        found = search_ids(session, "variant", "river", limit=100)
        listed = {cell.id for row in matrix(session, MatrixFilter()).rows for cell in row.cells}
        of_first = {cell.id for cell in cells_of(session, 1).rows}
    assert controls
    assert not controls & {one for ids in chosen.stored.values() for one in ids}
    assert not controls & (set(found) | listed | of_first)
    assert len(of_first) == 2
    assert [(row.n_variants, row.n_answers) for row in rows] == before


async def test_controls_know_what_they_stand_for_and_copy(
    store: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    await score_lab.score(store, fake_server.endpoint, tokenizer)
    rows = lab.rows(
        store,
        "SELECT v.note, v.question_id, o.question_id, p.position, v.text = o.text"
        " FROM reasoning_variant v JOIN variant_parent p ON p.variant_id = v.id"
        " JOIN reasoning_variant o ON o.id = p.parent_id WHERE v.source = 'control'",
    )
    assert all(own == other for _, own, other, place, _ in rows if place == 0)
    copies = [row for row in rows if row[3] == 1]
    assert len(copies) == 6
    assert all(row[0] == "foreign" and row[1] != row[2] and row[4] for row in copies)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sweep": 99}, "no sweep 99"),
        ({"role": "pirate"}, "no role 'pirate'"),
        ({"model": "nobody"}, "no model 'nobody'"),
        ({"answers": "people", "model": "fake", "format": "odd@1"}, "no prompt format 'odd@1'"),
    ],
)
async def test_names_that_stand_for_nothing_are_said(
    store: Database,
    fake_server: FakeServer,
    tokenizer: PromptTokenizer,
    values: dict[str, object],
    said: str,
) -> None:
    with pytest.raises(UsageError, match=said):
        await score_lab.score(store, fake_server.endpoint, tokenizer, ScoreSpec(**values))  # type: ignore[arg-type]


async def test_sampled_answers_are_scored_as_they_were_asked_for(
    database: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    lab.fill(database, 3)
    sweep_id = lab.save(database, formats=["tagged@1"], variants=2, answers=2)
    await lab.run(database, sweep_id, fake_server.endpoint, tokenizer=tokenizer)
    spec = ScoreSpec(sweep=sweep_id)
    found = await score_lab.score(database, fake_server.endpoint, tokenizer, spec)
    assert (found.questions, found.failed) == (3, 0)
    assert found.scored == 3 * (4 * 8 + 4 * 3)
    own = (
        "SELECT count(*) FROM answer_score s JOIN answer a ON a.id = s.answer_id"
        " JOIN generation g ON g.id = a.generation_id WHERE s.variant_id = a.variant_id"
        " AND NOT s.question_withheld AND s.prompt_id = g.prompt_id"
    )
    assert lab.scalar(database, own) == 12


async def test_samplings_are_levels_of_their_own_and_only_neutral_ones_are_as_scored(
    database: Database, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    """The same answers must not be put together with those of another temperature."""
    lab.fill(database, 3)
    sweep_id = lab.save(
        database,
        formats=["tagged@1"],
        variants=2,
        answers=2,
        answer_sampling=[
            {"temperature": 1.0, "top_p": 1.0},
            {"temperature": 0.7, "top_p": 0.9},
        ],
    )
    await lab.run(database, sweep_id, fake_server.endpoint, tokenizer=tokenizer)
    spec = ScoreSpec(sweep=sweep_id, leak=False)
    found = await score_lab.score(database, fake_server.endpoint, tokenizer, spec)
    assert found.scored == 2 * 3 * 4 * 8
    with database.read() as session:
        levels = read_reasoning_report(session, spec).levels
    neutral = [one for one in levels if one.sampling == "temperature 1 · top_p 1"]
    cold = [one for one in levels if one.sampling == "temperature 0.7 · top_p 0.9"]
    assert len(neutral) + len(cold) == len(levels)
    assert [sum(one.n_answers for one in some) for some in (neutral, cold)] == [12, 12]
    assert {one.sampling_id for one in neutral}.isdisjoint(one.sampling_id for one in cold)
    assert sum(one.n_as_scored for one in neutral) == 3
    assert sum(one.n_as_scored for one in cold) == 0
    assert all("sampling" in {lack.what for lack in one.missing} for one in cold)
    assert {one.verdict for one in levels} == {"unclear"}


def test_reports_are_plain_numbers(store: Database) -> None:
    with store.read() as session:
        found = read_reasoning_report(session, score_lab.BY_PEOPLE)
    assert (found.pairs, found.scored, found.missing) == (3 * PAIRS_EACH, 0, 3 * PAIRS_EACH)
    assert np.isfinite(found.levels[0].limit)
