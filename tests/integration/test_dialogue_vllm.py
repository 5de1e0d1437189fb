"""A turn of a dialogue on real vLLM: answers, lists that keep their schema, a synopsis."""

import asyncio
from typing import Any

import pytest

from db.database import Database
from serving.engine.client import CompletionClient
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.run import run_sweep
from tests.engine_fixture import VllmServer
from tests.fakes.engines import FixedEngines
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab
from tests.unit.dialogue_lab import Lab
from workbench.dialogue.cards import Candidate
from workbench.dialogue.decisions import choose, pick
from workbench.dialogue.synopsis import read_synopsis, write_synopsis
from workbench.dialogue.tree import read_tree
from workbench.dialogue.turn import Step

pytestmark = pytest.mark.engine

SETTINGS = {
    "model": "fake",
    "prompt_format": "chat@1",
    "variants": 2,
    "reasoning_sampling": {"max_tokens": 32},
    "answer_sampling": {"max_tokens": 32},
    "ask_sampling": {"max_tokens": 128, "temperature": 0.7},
}
MOST_TRIES = 5
"""So small a model writes a list without a new question now and then."""


class RealLab(Lab):
    """The same session on the shared vLLM server."""

    def __init__(self, database: Database, server: VllmServer) -> None:
        self.real = server
        super().__init__(database, FakeServer(), settings=SETTINGS)

    async def run_sweep(self, step: Step, **options: Any) -> Any:
        async with CompletionClient(self.real.endpoint, timeout_s=120) as client:
            model = sweep_lab.served(
                client,
                name=self.real.model,
                tokenizer=PromptTokenizer.load(self.real.folder),
                context_length=self.real.context_length,
                max_num_seqs=32,
            )
            running = run_sweep(self.database, step.sweep_id, FixedEngines([model]), priority=-10)
            return await asyncio.wait_for(running, 200)


def test_a_real_model_answers_and_proposes_questions_as_a_strict_list(
    database: Database, vllm_server: VllmServer
) -> None:
    lab = RealLab(database, vllm_server)
    view = lab.answer()
    assert len(view.shown) == 2
    with database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    fresh: list[Candidate] = []
    for _ in range(MOST_TRIES):
        view = lab.ask("deepen", "ground")
        fresh = [one for one in view.candidates if one.folded_because in (None, "rest")]
        if fresh:
            break
        assert view.problems or view.candidates  # what was wrong with a list is said
    assert fresh, view.problems
    texts = sweep_lab.rows(
        database, "SELECT text, finish_reason FROM generation WHERE kind = 'questions'"
    )
    assert len(texts) >= 2
    assert all(text.lstrip().startswith("[") for text, _ in texts)
    best = fresh[0]
    with database.write() as session:
        child = pick(session, lab.id, lab.here, best.event_id, best.place, lab.by)
        step = write_synopsis(session, lab.registry, lab.id, lab.by)
    lab.run(step)
    with database.read() as session:
        assert read_tree(session, lab.id).current_id == child
        assert read_synopsis(session, lab.id) is not None
