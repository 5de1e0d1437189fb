"""A real Ray cluster of two nodes on this machine: a replica, the worker and a node die."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from db.child_process import ChildProcess
from db.settings import Settings
from serving.engine.command import ServerSpec, free_port, new_command
from serving.engine.ray_cluster import RayCluster
from serving.engine.server import read_record
from tests.integration.test_worker_crash import CELLS, Workbench, until

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

ROOT = Path(__file__).parents[2]
SHOWN = "10.0.0.1:6379"
"""The address in the docs, whose commands are run here with that of a cluster on this machine."""

SMALL = ("--num-cpus", "1", "--object-store-memory", "80000000")


def shown(command: str, address: str) -> list[str]:
    """Return the arguments of the command in docs/cluster.md that begins so."""
    page = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    found = re.search(rf"^ *({command} .+)$", page, re.MULTILINE)
    assert found, f"docs/cluster.md shows no {command}"
    port = SHOWN.rpartition(":")[2]
    line = found[1].replace(SHOWN, address).replace(f" {port}", f" {address.rpartition(':')[2]}")
    return shlex.split(line)


class Cluster:
    """Two nodes of one CPU each: the head, and one that may be lost."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "nodes.log"
        self._scratch = tempfile.mkdtemp(prefix="ray-")  # Ray's sockets need a short path
        self.address = f"127.0.0.1:{free_port()}"
        self._nodes: list[ChildProcess] = []

    def start(self) -> None:
        self.head = self._node(
            *shown("ray start --head", self.address),
            *("--ray-client-server-port", str(free_port()), "--temp-dir", self._scratch),
            *("--include-dashboard", "false"),
        )
        # by --disable-usage-stats
        assert "Usage stats collection is disabled" in self.log.read_text()
        self.other = self._node(*shown("ray start --address", self.address))

    def _node(self, *command: str) -> ChildProcess:
        n_started = self._started()
        node = ChildProcess.start(
            [str(Path(sys.executable).with_name("ray")), *command[1:], *SMALL, "--block"],
            log=self.log,
            env={"PYTHONPATH": ""},  # what runs there is brought by Ray
            cwd=self.log.parent,
        )
        self._nodes.append(node)
        until(lambda: self._started() > n_started)
        return node

    def _started(self) -> int:
        return self.log.read_text().count("Ray runtime started") if self.log.exists() else 0

    def stop(self) -> None:
        for node in reversed(self._nodes):
            node.end(grace_s=5)
        shutil.rmtree(self._scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def bench(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, embedded_model: Path
) -> Iterator[Workbench]:
    """A workbench that is served by two replicas, one on each node."""
    bench = Workbench(tmp_path_factory.mktemp("bench"))
    try:
        start = shown("q2q serve start --ray", cluster.address)
        bench.run(*start[1:-1], 2)
        yield bench
    finally:
        bench.run("serve", "stop")
        assert bench.leftovers() == []
        assert replicas(cluster.head) == []


def replicas(node: ChildProcess) -> list[psutil.Process]:
    """Return the replicas that run on a node."""
    return [one for one in map(psutil.Process, node.members()) if ":Replica:" in one.name()]


def told(bench: Workbench, column: str) -> Any:
    """Return what the store says of the server, or nothing yet."""
    ((value,),) = bench.rows(f"SELECT {column} FROM engine WHERE kind = 'child'")
    return value or ""


@pytest.mark.parametrize(
    ("replicas", "model", "why"),
    [
        (3, ROOT / "docs", "too small: 3 replicas of 1 CPU need 3, and 2 of 2 are free on 2 nodes"),
        # the folder that each process has for its own: there it holds docs here, and none there
        (2, Path("/proc/self/cwd/docs"), r"The node \S+ does not have the files of this machine"),
    ],
)
def test_nothing_is_deployed_where_it_could_not_be_served(
    cluster: Cluster, tmp_path: Path, replicas: int, model: Path, why: str
):
    asked = RayCluster(address=cluster.address, replicas=replicas)
    spec = ServerSpec(model=model, served_name="none", context_length=4096, ray=asked)
    made, _, _ = new_command(spec, Settings(home=tmp_path))
    child = subprocess.run(
        made.argv, env=os.environ | made.env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert child.returncode == 1
    assert re.search(why, json.loads(child.stdout.splitlines()[-1])["q2q"]["error"])


def test_two_replicas_answer_at_one_url_to_those_with_the_key(bench: Workbench):
    record = read_record(bench.home)
    assert record is not None
    asked = {"model": record.spec.served_name, "prompt": [5, 6, 7], "max_tokens": 1}
    url = record.url + "/completions"
    keys = {"": 401, "Bearer wrong": 401, f"Bearer {record.api_key}": 200}
    for key, status in keys.items():
        sent = {"Authorization": key}
        assert httpx.post(url, json=asked, headers=sent, timeout=60).status_code == status
        assert httpx.get(record.url + "/models", headers=sent).status_code == status
    wanted = ("token_ids", "n", "prompt_list", "priority", "prompt_logprobs", "return_token_ids")
    can = json.loads(told(bench, "capabilities"))
    assert {name: can[name] for name in wanted} == dict.fromkeys(wanted, True), can["reasons"]
    assert can["metrics"]
    load = record.url.removesuffix("/v1") + "/metrics"
    until(lambda: httpx.get(load).text.count("vllm:num_requests_running{") == 2, 240)


def test_a_sweep_loses_nothing_when_a_replica_the_worker_and_a_node_die(
    bench: Workbench, cluster: Cluster
):
    child = read_record(bench.home)
    spec = bench.spec("nodes-die", 0.8)
    spec.write_text(spec.read_text("utf-8").replace("max_tokens: 48", "max_tokens: 24"), "utf-8")
    process = bench.start("sweep", "run", spec)
    until(lambda: len(bench.written(1)) >= 4)
    until(lambda: told(bench, "load").count('"node"') == 2)
    (killed,) = replicas(cluster.head)
    killed.send_signal(signal.SIGKILL)
    until(lambda: len(bench.written(1)) >= CELLS // 4)
    process.kill()
    process.communicate()
    before = bench.written(1)
    again = bench.start("sweep", "resume", "1", "--json")
    until(lambda: len(bench.written(1)) > len(before))
    assert read_record(bench.home) == child, "the next worker takes the replicas over as they are"
    until(lambda: replicas(cluster.head) not in ([], [killed]))
    cluster.other.end(grace_s=0)
    bench.result(again)
    bench.assert_complete(1, before)
    until(lambda: "1 of 2 replicas run" in told(bench, "message"))
