"""What is asked of a Ray cluster, and what is made of the child's reports; without Ray."""

import asyncio
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db.errors import Q2QError
from db.settings import Settings
from serving.cluster import __name__ as CLUSTER
from serving.engine import ray_cluster
from serving.engine.command import (
    HOME_VARIABLE,
    Command,
    ServerSpec,
    fingerprint,
    free_port,
    new_command,
)
from serving.engine.hardware import described_gpus
from serving.engine.messages import EngineUnavailable
from serving.engine.ray_cluster import RayCluster, RayDeployment, application_name, cluster_of
from serving.engine.responses import parse_load
from serving.engine.server import read_record
from serving.engine.server_log import LoadReader, explain_exit, report, report_error
from serving.engine.supervisor import EngineState, EngineSupervisor, SupervisorPolicy
from tests.unit.test_serving_plan import folder

CLUSTER_OF_FOUR = RayCluster(address="10.0.0.1:6379", replicas=4)
SPEC = ServerSpec(
    model=Path("/models/small"), served_name="fake", context_length=8192, ray=CLUSTER_OF_FOUR
)
TINY_SERVER = Path(__file__).parents[1] / "fakes" / "tiny_server.py"


def deployed(spec: ServerSpec, settings: Settings) -> tuple[Command, RayDeployment, str]:
    made, _, key = new_command(spec, settings)
    *program, told = made.argv
    assert program == [sys.executable, "-m", f"{CLUSTER}.deploy"]
    return made, RayDeployment.model_validate_json(told), key


def test_the_child_is_told_all_but_the_key_and_replicas_are_no_strays_of_this_home(tmp_path: Path):
    settings = Settings(home=tmp_path, kv_cache_gib=3)
    made, deployment, key = deployed(SPEC, settings)
    assert key not in " ".join(made.argv)
    assert made.env["VLLM_API_KEY"] == key
    assert made.env[HOME_VARIABLE] == str(tmp_path)
    assert made.env["RAY_USAGE_STATS_ENABLED"] == "0"
    assert deployment.cluster == CLUSTER_OF_FOUR
    assert deployment.environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert not {HOME_VARIABLE, "VLLM_API_KEY", "LD_PRELOAD"} & set(deployment.environment)


def test_each_replica_is_one_engine_of_the_plan_and_sweeps_have_the_room_of_all(tmp_path: Path):
    settings = Settings(home=tmp_path, max_num_seqs=16, tensor_parallel_size=2, device="cuda")
    spec = SPEC.model_copy(update={"device": "cuda"}).planned(settings)
    assert spec.plan is not None
    assert spec.plan.total_num_seqs == 4 * 16
    _, deployment, _ = deployed(spec, settings)
    assert deployment.gpus_per_replica == 2
    assert deployment.arguments[deployment.arguments.index("--tensor-parallel-size") + 1] == "2"
    assert "--data-parallel-size" not in deployment.arguments
    assert "CUDA_VISIBLE_DEVICES" not in deployment.environment


@pytest.mark.parametrize(
    ("nodes", "precision", "gpus_per_replica"),
    [("1x24", "fp8", 1), ("2x24:8.6", "bf16", 2), ("8x80", "bf16", 1)],
)
def test_replicas_are_planned_for_the_gpus_of_a_node_where_they_are_others(
    tmp_path: Path, nodes: str, precision: str, gpus_per_replica: int
):
    settings = Settings(home=tmp_path, ray_gpus=nodes, device="cuda")
    asked = {"device": "cuda", "model": folder(tmp_path, "phi-3-medium")}
    here = described_gpus("1x12")
    spec = SPEC.model_copy(update=asked).planned(settings, here)
    assert spec.plan is not None
    assert (spec.plan.precision, spec.plan.data_parallel) == (precision, CLUSTER_OF_FOUR.replicas)
    assert deployed(spec, settings)[1].gpus_per_replica == gpus_per_replica


def test_servers_here_and_on_clusters_are_not_taken_for_each_other(tmp_path: Path):
    settings = Settings(home=tmp_path)
    others = [None, RayCluster(address="10.0.0.2:6379", replicas=4), RayCluster(address="auto")]
    specs = [SPEC, *(SPEC.model_copy(update={"ray": one}) for one in others)]
    assert len({fingerprint(spec, settings) for spec in specs}) == 4
    assert application_name(tmp_path) != application_name(tmp_path / "other")


def test_the_settings_name_the_cluster(tmp_path: Path):
    assert cluster_of(Settings(home=tmp_path)) is None
    asked = Settings(home=tmp_path, ray_address="10.0.0.1:6379", ray_replicas=4)
    assert cluster_of(asked) == CLUSTER_OF_FOUR


def test_without_ray_a_sentence_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match=r"requirements-cluster\.txt"):
        new_command(SPEC, Settings(home=tmp_path))


def test_what_the_child_reports_is_progress_and_its_error_the_reason_of_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    reader = LoadReader()
    report(0.05, "Starting Ray Serve with {n} replicas.", n=4)
    report_error(Q2QError("The node {address} has no folder.", address="10.0.0.2"))
    lines = capsys.readouterr().out.splitlines()
    progress = reader.feed(lines[0])
    assert progress is not None
    assert (progress.share, progress.message) == (0.05, "Starting Ray Serve with 4 replicas.")
    log = tmp_path / "server.log"
    log.write_text("\n".join([*lines, "CUDA out of memory"]))
    assert explain_exit(1, log) == "The node 10.0.0.2 has no folder."


def test_the_load_of_each_replica_is_told_with_its_node():
    page = "".join(
        f'vllm:num_requests_{state}{{engine="{number}",node="10.0.0.{number}"}} 3.0\n'
        for number in (0, 1)
        for state in ("running", "waiting")
    )
    load = parse_load(page)
    assert load is not None
    assert (load.running, load.waiting) == (6, 6)
    assert [(core.engine, core.node) for core in load.cores] == [(0, "10.0.0.0"), (1, "10.0.0.1")]


async def test_the_page_follows_how_many_replicas_run(tmp_path: Path):
    settings = Settings(home=tmp_path, server_start_timeout_s=5)
    told: list[EngineState] = []
    news = tmp_path / "news"
    news.touch()

    def command(spec: ServerSpec, settings: Settings) -> tuple[Command, int, str]:
        port = free_port()
        prefix = f"/{application_name(tmp_path)}"
        server = shlex.join([sys.executable, "-I", "-S", str(TINY_SERVER), str(port), prefix])
        script = f"tail -f {news} & exec {server}"
        return Command(argv=("sh", "-c", script), env={HOME_VARIABLE: str(tmp_path)}), port, "key"

    policy = SupervisorPolicy(check_every_s=0.05, grace_s=2)
    supervisor = EngineSupervisor(settings, told.append, policy=policy, make_command=command)
    endpoint = await supervisor.ensure(SPEC)
    assert application_name(tmp_path) in endpoint.url
    watch = asyncio.create_task(supervisor.watch())
    try:
        for n in (4, 3):
            line = {"q2q": {"share": 0.95, "message": f"{n} of 4 replicas run."}}
            with news.open("a") as file:
                file.write(json.dumps(line) + "\n")
            sentence = f"vllm 0.0.1 serves fake. {n} of 4 replicas run."
            await until(lambda sentence=sentence: told[-1].message == sentence)
            assert told[-1].state == "ready"
            assert told[-1].probe is not None
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await supervisor.stop()
    assert read_record(tmp_path) is None


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)
