"""What a round has the engine score: influence of reasonings in bits, and the held-out loss."""

import asyncio
from collections.abc import Sequence
from math import log2
from pathlib import Path

import pytest

from db.database import Database
from db.rounds import RoundRow, move_round
from db.tables import Question
from serving.engine.client import CompletionClient
from serving.engine.messages import Capabilities
from serving.formats.tokenizer import PromptTokenizer
from tests.fakes.engines import FixedEngines
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab
from tests.unit.dataset_lab import Lab
from tests.unit.round_lab import MODELS, write_round
from training.datasets.held_out_loss import read_losses
from workbench.rounds.comparison import compare_round
from workbench.rounds.scoring import ScoredLevel, ScoringDone, of_one_sampling, score_round
from workbench.rounds.spec import Comparing
from workbench.rounds.verdict import propose

PER_TOKEN = 2.0
"""Nats: what the fake server finds every token worth, but for words that the reasoning named."""


@pytest.fixture(scope="module")
def tokenizer(embedded_model: Path) -> PromptTokenizer:
    return PromptTokenizer.load(embedded_model)


@pytest.fixture
def found(database: Database) -> RoundRow:
    """A round with a dataset of three held-out rows and one to train on."""
    made = write_round(database, 4)
    with database.write() as session:
        rows = Lab(session)
        for i in range(4):
            question_id, *_ = rows.whole(f"What is {i} plus {i}?", "You should add.", f"{2 * i}")
            session.get_one(Question, question_id).held_out = i > 0
        dataset_id = rows.freeze(take={"sources": ["imported"]}, near_duplicates=None, findings=[])
        return move_round(session, made.id, dataset_id=dataset_id)


async def scored(
    database: Database,
    found: RoundRow,
    server: FakeServer,
    tokenizer: PromptTokenizer | None,
    **changes: object,
) -> ScoringDone:
    server.models = MODELS
    async with CompletionClient(server.endpoint, timeout_s=5.0, retry=lab.QUICK) as client:
        engines = FixedEngines(
            [
                lab.served(client, number, name, tokenizer=tokenizer, **changes)
                for number, name in enumerate(MODELS, 1)
            ]
        )
        return await score_round(
            database,
            found,
            engines,
            on_progress=lambda *_: None,
            cancelled=asyncio.Event(),
        )


async def test_a_round_is_scored_once_and_compared_with_its_scores(
    database: Database, found: RoundRow, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    def log_prob(prompt: Sequence[int], place: int) -> float:
        """Find likely what repeats "point …" of the reasoning: answers that heed it."""
        before = tokenizer.decode(prompt[:place]).split("<|reasoning|>")[-1]
        word = tokenizer.decode([prompt[place]]).strip()
        told = before.split("<|response|>")[0]
        return -0.1 if word.isdigit() and word in told else -PER_TOKEN

    fake_server.log_prob = log_prob
    assert await scored(database, found, fake_server, tokenizer) == ScoringDone((), False)
    with database.read() as session:
        comparison = compare_round(session, found)
    told = {figure.measure: figure for figure in comparison.models[1].figures}
    assert 0 < told["influence"].found.value <= log2(4)
    assert told["influence"].n_questions == 4
    assert told["held_out_loss"].n_questions == 3
    changes = {change.measure: change.found.value for change in comparison.models[1].changes}
    assert changes["held_out_loss"] == pytest.approx(0)
    assert propose(comparison, 2, Comparing()).findings["first"] == "base"
    before = len(fake_server.requests)
    assert await scored(database, found, fake_server, tokenizer) == ScoringDone((), False)
    assert len(fake_server.requests) == before, "what has a score is not scored again"


async def test_the_held_out_loss_is_nats_a_token_to_learn(
    database: Database, found: RoundRow, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    fake_server.log_prob = lambda prompt, place: -PER_TOKEN
    await scored(database, found, fake_server, tokenizer)
    assert found.dataset_id is not None
    form = lab.scalar(database, "SELECT id FROM prompt_format WHERE name = 'tagged'")
    with database.read() as session:
        losses = read_losses(session, found.dataset_id, form, (1, 2))
    assert len(losses[1]) == 3
    assert [*losses[1].values(), *losses[2].values()] == pytest.approx([PER_TOKEN] * 6)


async def test_a_server_that_tells_no_logarithms_is_said_and_leaves_the_other_figures(
    database: Database, found: RoundRow, fake_server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    done = await scored(
        database, found, fake_server, tokenizer, capabilities=Capabilities(prompt_logprobs=False)
    )
    assert len(done.unable) == len(MODELS)
    with database.read() as session:
        comparison = compare_round(session, found)
    told = {figure.measure for figure in comparison.models[1].figures}
    assert "well_formed" in told
    assert not told & {"influence", "held_out_loss"}


def test_the_influence_of_two_temperatures_is_never_averaged_or_compared() -> None:
    def level(model_id: int, sampling_id: int, n_scored: int) -> ScoredLevel:
        return ScoredLevel(model_id, sampling_id, dict.fromkeys(range(n_scored), 0.5))

    shared = [level(1, 2, 5), level(2, 2, 5)]
    alone = [level(1, 1, 50), level(2, 3, 50)]
    assert of_one_sampling([*alone, *shared]) == shared
    more = [level(1, 4, 6), level(2, 4, 6)]
    assert of_one_sampling([*alone, *shared, *more]) == more
    assert of_one_sampling([]) == []
