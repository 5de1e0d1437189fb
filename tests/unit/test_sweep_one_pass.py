"""Sweeps in which one completion holds the reasoning and its answer, as a trained model writes."""

import pytest

from db.database import Database
from db.errors import UsageError
from db.sweeps import get_sweep
from serving.sweeps.spec import parse_spec
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab


def whole(prompt: str, choice_index: int, seed: int | None) -> str:
    """Write both parts; the second completion of a prompt forgets the tag."""
    if choice_index == 1:
        return "You should name a colour. It is blue."
    return f"You should name colour {choice_index}.\n<|response|>It is blue, surely."


@pytest.fixture
def writer(fake_server: FakeServer) -> FakeServer:
    fake_server.text = whole
    return fake_server


async def test_one_completion_gives_a_reasoning_and_the_answer_under_it(
    database: Database, writer: FakeServer
) -> None:
    lab.fill(database, 2)
    sweep_id = lab.save(database, variants=2, answers=3, one_pass=True)
    outcome = await lab.run(database, sweep_id, writer.endpoint)
    assert (outcome.state, outcome.cells, outcome.done) == ("done", 4, 4)
    assert (outcome.variants, outcome.answers) == (4, 2)
    texts = lab.rows(
        database,
        "SELECT v.text, a.text FROM reasoning_variant v LEFT JOIN answer a"
        " ON a.variant_id = v.id AND a.generation_id = v.generation_id ORDER BY v.text",
    )
    assert texts == [
        ("You should name a colour. It is blue.", None),
        ("You should name a colour. It is blue.", None),
        ("You should name colour 0.", "It is blue, surely."),
        ("You should name colour 0.", "It is blue, surely."),
    ]
    unparsed = "SELECT count(*) FROM check_flag WHERE name = 'unparsed'"
    assert lab.scalar(database, unparsed) == 2
    assert lab.scalar(database, "SELECT count(*) FROM search_text WHERE kind = 'answer'") == 2


async def test_it_is_resumed_and_shared_like_every_other_sweep(
    database: Database, writer: FakeServer
) -> None:
    lab.fill(database, 2)
    first = lab.save(database, variants=1, one_pass=True)
    await lab.run(database, first, writer.endpoint)
    sent = writer.count
    again = lab.save(database, variants=1, one_pass=True)
    outcome = await lab.run(database, again, writer.endpoint)
    assert (outcome.done, outcome.answers, writer.count) == (2, 2, sent)
    two_passes = lab.save(database, variants=1, answers=0)
    await lab.run(database, two_passes, writer.endpoint)
    assert writer.count > sent
    with database.read() as session:
        assert get_sweep(session, two_passes).variants == 2


def test_it_goes_with_the_mode_reasoning_alone() -> None:
    with pytest.raises(UsageError, match="one_pass goes with the mode reasoning alone"):
        parse_spec({"name": "x", "modes": ["vanilla"], "one_pass": True})
    with pytest.raises(UsageError, match="without answer_models"):
        parse_spec({"name": "x", "answer_models": ["a"], "one_pass": True})
