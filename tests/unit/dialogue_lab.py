"""What the tests of dialogues share: a theme, a session, a model server that asks back."""

import asyncio
import json
import random
import zlib
from typing import Any

from db.database import Database
from db.dialogues import read_events
from db.jobs import JobEnd, JobRow, claim, finish
from db.rating.ratings import ensure_rater
from serving.formats.library import Registry
from tests.fakes.server import FakeServer, fake_text
from tests.unit import sweep_lab
from workbench.dialogue.cards import NodeView, node_view
from workbench.dialogue.events import By, current_node_id
from workbench.dialogue.finishing import results_of_job
from workbench.dialogue.lifecycle import new_dialogue
from workbench.dialogue.settings import ThemeFile, parse_theme
from workbench.dialogue.turn import Step, answer, ask

THEME = {
    "name": "A town without cars",
    "concept": "A town centre that is closed to private cars",
    "goal": "Find out whether the centre should be closed to cars",
    "opposing_goal": "Keep the centre open to cars",
    "audience": "Shop owners of the centre",
    "points_of_view": ["a shop owner", "a child on the way to school"],
    "language": "en",
    "first_question": "What changes in a town centre when private cars may not enter it?",
    "settings": {"model": "fake", "prompt_format": "tagged@1"},
}
SUBJECTS = (
    "delivery of goods",
    "noise at night",
    "rents of shops",
    "air that children breathe",
    "bus timetables",
    "elderly residents",
    "trees along the streets",
    "parking fees",
    "bicycle theft",
    "restaurants in winter",
    "emergency vehicles",
    "weekend visitors",
)


def asking(prompt: str, choice_index: int, seed: int | None) -> str:
    """Write five questions where a list is asked for; else as the fake server does."""
    if "Propose five next questions" not in prompt:
        return fake_text(prompt, choice_index, seed)
    drawn = random.Random(zlib.crc32(f"{prompt}|{choice_index}".encode()))
    subjects = drawn.sample(SUBJECTS, 5)
    return json.dumps([f"Who measured what happens to {subject}?" for subject in subjects])


def theme(**changes: Any) -> ThemeFile:
    return parse_theme(THEME | changes)


def end_job(database: Database, job: JobRow, error: str | None) -> None:
    """End a job as the worker does: what its steps brought is stored with its end."""
    end = JobEnd("failed" if error else "done", error)
    with database.read() as session:
        store = results_of_job(session, job, end)
    with database.write() as session:
        finish(session, job.id, "lab", end.state, error=error)
        store(session)


class Lab:
    """One session in a store of its own, and a server that a step can be run against."""

    def __init__(self, database: Database, server: FakeServer, **changes: Any) -> None:
        self.database, self.server = database, server
        server.text = asking
        sweep_lab.fill(database, n_questions=0)
        self.registry: Registry = sweep_lab.registry_of(database)
        with database.write() as session:
            self.by = By(rater_id=ensure_rater(session, "Ada"))
            self.id = new_dialogue(session, theme(**changes), self.by)

    @property
    def here(self) -> int:
        with self.database.read() as session:
            node_id = current_node_id(read_events(session, self.id))
        assert node_id is not None
        return node_id

    def view(self, node_id: int | None = None) -> NodeView:
        with self.database.read() as session:
            return node_view(session, self.id, node_id or self.here)

    def run(self, step: Step, **options: Any) -> NodeView:
        """Do what the worker does with a step's job."""
        with self.database.write() as session:
            job = claim(session, "lab")
            assert job is not None
            assert job.id == step.job_id
        outcome = asyncio.run(self.run_sweep(step, **options))
        end_job(self.database, job, outcome.error)
        return self.view()

    async def run_sweep(self, step: Step, **options: Any) -> Any:
        """Have everything generated that a step asks for; its job stays as it is."""
        return await sweep_lab.run(
            self.database, step.sweep_id, self.server.endpoint, priority=-10, **options
        )

    def answer(self, **options: Any) -> NodeView:
        with self.database.write() as session:
            step = answer(session, self.registry, self.id, self.here, self.by, **options)
        return self.run(step)

    def ask(self, *moves: str, **options: Any) -> NodeView:
        with self.database.write() as session:
            step = ask(session, self.registry, self.id, self.here, self.by, moves=moves, **options)
        return self.run(step)
