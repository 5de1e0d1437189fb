"""A model as judge: both orders asked, one fact an answer, a rater of its own kind."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from db.database import Database
from db.errors import UsageError
from db.questions import NewQuestion, add_question
from db.rating.ratings import list_raters
from db.tables import Rating
from serving.engine.client import CompletionClient
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.judge import (
    JudgeOutcome,
    JudgeSpec,
    Verdict,
    decided,
    parse_judge_spec,
    run_judge,
)
from tests.fakes.engines import FixedEngines
from tests.fakes.server import FakeServer
from tests.store_rows import make_answer
from tests.unit import sweep_lab as lab

SPEC = JudgeSpec(model="fake")


def says(first: tuple[float, float], second: tuple[float, float]) -> dict[Verdict, float | None]:
    found: dict[Verdict, float | None] = {}
    for reference_first, (yes, no) in ((True, first), (False, second)):
        found[Verdict(1, reference_first, "Yes")] = yes
        found[Verdict(1, reference_first, "No")] = no
    return found


def test_only_what_both_orders_say_counts() -> None:
    assert decided(says((-1, -3), (-2, -4))) is True
    assert decided(says((-5, -3), (-9, -4))) is False
    assert decided(says((-1, -3), (-9, -4))) is None
    assert decided(says((-3, -3), (-9, -4))) is None
    assert decided({**says((-1, -3), (-2, -4)), Verdict(1, True, "No"): None}) == "failed"


async def judge(
    database: Database, server: FakeServer, folder: Path, spec: JudgeSpec = SPEC
) -> JudgeOutcome:
    async with CompletionClient(server.endpoint, retry=lab.QUICK) as client:
        model = lab.served(client, tokenizer=PromptTokenizer.load(folder))
        return await asyncio.wait_for(run_judge(database, spec, FixedEngines([model])), 60)


async def test_each_answer_is_judged_once_by_a_rater_of_its_own_kind(
    database: Database, fake_server: FakeServer, embedded_model: Path
) -> None:
    lab.fill(database, 0)
    with database.write() as session:
        known, _ = add_question(session, NewQuestion(text="Why?", reference_answer="Because."))
        other, _ = add_question(session, NewQuestion(text="How?"))
        for text in ("Because of it.", "Never.", "Well"):
            make_answer(session, known, None, text, source="imported")
        make_answer(session, other, None, "So.", source="imported")
    # “default” is the only model there is, as wherever models are chosen.
    outcome = await judge(database, fake_server, embedded_model, JudgeSpec(model="default"))
    assert outcome.answers == 3
    assert outcome.ok + outcome.not_ok + outcome.undecided == 3
    again = await judge(database, fake_server, embedded_model)
    assert (again.known, again.ok + again.not_ok + again.undecided) == (3, 0)
    with database.read() as session:
        rows = session.scalars(select(Rating)).all()
        raters = {one.id: one for one in list_raters(session)}
    assert len(rows) == 3
    assert {raters[one.rater_id].kind for one in rows} == {"model"}
    assert {one.axis for one in rows} <= {"ok", "flag"}


async def test_a_model_or_a_key_that_is_none_is_refused(
    database: Database, fake_server: FakeServer, embedded_model: Path
) -> None:
    lab.fill(database, 0)
    with pytest.raises(UsageError, match="nobody"):
        await judge(database, fake_server, embedded_model, JudgeSpec(model="nobody"))
    with pytest.raises(UsageError, match="cannot be judged"):
        parse_judge_spec({"model": "x", "sweep": 0})
