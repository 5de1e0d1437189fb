"""A person at the pages of a dialogue, and the worker that does what they asked for."""

import asyncio
import re
from typing import Any

from streamlit.testing.v1 import AppTest

from db.dialogues import EventRow, read_events
from db.jobs import JobEnd, JobRow, claim
from tests.app.conftest import run_page, words_of
from tests.fakes.server import fake_text
from tests.unit import sweep_lab
from tests.unit.dialogue_lab import Lab, asking, end_job
from workbench.dialogue.auto import Turns, run_turns
from workbench.dialogue.events import By
from workbench.dialogue.tree import Tree, read_tree
from workbench.dialogue.turn import TURNS_JOB


def draft_field(app: AppTest, panel: str, name: str = "text") -> Any:
    """Return a field of a panel: ``own``, ``edit``, ``tag``, ``note``, ``fact``, ``fork`` …."""
    fields = [*app.text_area, *app.text_input]
    mark = re.compile(rf"draft--dialogue-\d+-{panel}(-\d+)?--{name}")
    (found,) = [one for one in fields if one.key and mark.fullmatch(one.key)]
    return found


class Desk:
    """One visit to one session; every press is one run of the page."""

    def __init__(self, lab: Lab, **address: str) -> None:
        self.lab = lab
        self.app: AppTest = run_page("dialogues", session=str(lab.id), rater="Ada", **address)

    def button(self, label: str) -> Any:
        """Return the first button of this name."""
        found = [one for one in self.app.button if one.label == label]
        assert found, f"no button {label!r} among {[one.label for one in self.app.button]}"
        return found[0]

    def press(self, label: str) -> None:
        """Press a button; what the page drew must be no exception."""
        one = self.button(label)
        assert not one.disabled, f"{label!r} cannot be pressed"
        one.click()
        self.run()

    def key(self, key: str) -> str:
        """Press the button of a key; return its label."""
        (one,) = [one for one in self.app.button if one.proto.shortcut.lower() == key.lower()]
        assert not one.disabled, f"{one.label!r} cannot be pressed"
        one.click()
        self.run()
        return str(one.label)

    def run(self) -> None:
        """Draw the page anew."""
        self.app.run()
        assert not self.app.exception, self.app.exception

    @property
    def words(self) -> str:
        """All that stands on the page."""
        app = self.app
        return "\n".join([words_of(app), *(str(one.value) for one in app.warning)])

    @property
    def tree(self) -> Tree:
        """The session as the store tells it."""
        with self.lab.database.read() as session:
            return read_tree(session, self.lab.id)

    def events(self, *kinds: str) -> list[EventRow]:
        """What happened in the session."""
        with self.lab.database.read() as session:
            return read_events(session, self.lab.id, kinds=kinds)

    def says(self, where: str, text: str) -> None:
        """Have the server write ``text`` where the prompt holds ``where``."""
        self.lab.server.text = lambda prompt, index, seed: (
            text
            if where in prompt
            else asking(prompt, index, seed)
            if "next questions" in prompt
            else fake_text(prompt, index, seed)
        )

    def work(self) -> int:
        """Do all jobs that wait, as the worker does, and draw the page; return how many."""
        n = 0
        while (job := self._claimed()) is not None:
            end_job(self.lab.database, job, asyncio.run(self._do(job)))
            n += 1
        self.run()
        return n

    def _claimed(self) -> JobRow | None:
        with self.lab.database.write() as session:
            return claim(session, "lab")

    async def _do(self, job: JobRow) -> str | None:
        async def run_one(sweep_id: int) -> JobEnd:
            models = ("fake", "round1")
            done = await sweep_lab.run(lab.database, sweep_id, lab.server.endpoint, *models)
            return JobEnd("failed" if done.error else "done", done.error)

        lab = self.lab
        if job.kind == TURNS_JOB:
            told = job.payload
            by = By(rater_id=told["rater_id"], automatic=True, job_id=job.id)
            wanted = Turns(dialogue_id=lab.id, turns=told["turns"], by=by)
            await run_turns(lab.database, lab.registry, wanted, run_one)
            return None
        assert job.sweep_id is not None
        done = await sweep_lab.run(
            lab.database, job.sweep_id, lab.server.endpoint, "fake", "round1"
        )
        return done.error
