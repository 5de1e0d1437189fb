"""Two workers, each with a vLLM of its own, share a sweep on PostgreSQL; one is killed in it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from tests.integration.test_postgres import migrated, store
from tests.integration.test_worker_crash import ROOT, SPEC, Workbench
from tests.integration.test_workers import end_lease, until
from tests.unit import sweep_lab as lab

__all__ = ["migrated", "store"]
pytestmark = [pytest.mark.engine, pytest.mark.postgres, pytest.mark.soak]
# What workers share is tested in test_workers.py with fake servers and real processes.

N_QUESTIONS, VARIANTS, ANSWERS = 8, 6, 4
N_SLOTS = N_QUESTIONS * (VARIANTS + VARIANTS * ANSWERS)


class Host(Workbench):
    """A home on the shared store, as if it were another machine."""

    def __init__(self, store: Database, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder)
        url = store.engine.url.render_as_string(hide_password=False)
        self.env |= {"Q2Q_DATABASE_URL": url, "Q2Q_MAX_NUM_SEQS": "4"}

    def work(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "worker.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "workbench.cli.main", "worker", "run"],
                cwd=ROOT,
                env=self.env,
                start_new_session=True,
                stdout=log,
                stderr=log,
            )


@pytest.fixture
def hosts(store: Database, tmp_path: Path, embedded_model: Path) -> Iterator[tuple[Host, Host]]:
    hosts = Host(store, tmp_path / "one"), Host(store, tmp_path / "two")
    lines = [json.dumps({"instruction": f"What is {i} plus {i}?"}) for i in range(N_QUESTIONS)]
    (hosts[0].folder / "questions.jsonl").write_text("\n".join(lines), "utf-8")
    yield hosts
    for host in hosts:
        host.run("serve", "stop")
        assert host.leftovers() == []


def test_two_real_servers_share_a_sweep_and_one_of_them_is_killed(
    store: Database, hosts: tuple[Host, Host]
) -> None:
    spec = hosts[0].folder / "spec.yaml"
    form = {"name": "shared", "variants": VARIANTS, "answers": ANSWERS, "temperature": 0.9}
    spec.write_text(SPEC.format(**form).replace("48", "16"), "utf-8")
    workers = [host.work() for host in hosts]
    try:
        until(lambda: lab.scalar(store, "SELECT count(*) FROM worker") == 2)
        following = hosts[0].start("sweep", "run", spec, "--json")
        share = (
            "SELECT count(DISTINCT e.worker_id) FROM generation g JOIN engine e"
            " ON e.id = g.engine_id WHERE g.ok"
        )
        until(lambda: lab.scalar(store, share) == 2, 300)
        assert lab.scalar(store, "SELECT count(*) FROM generation") < N_SLOTS
        os.killpg(workers[1].pid, signal.SIGKILL)
        dead = lab.scalar(store, f"SELECT id FROM worker WHERE home = '{hosts[1].home}'")
        end_lease(store, dead)
        outcome: dict[str, Any] = hosts[0].result(following)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
    assert (outcome["state"], outcome["done"], outcome["failed"]) == ("done", N_SLOTS, 0)
    lab.assert_every_slot_once(store, 1, N_SLOTS)
    assert lab.scalar(store, "SELECT count(*) FROM slot_claim") == 0
