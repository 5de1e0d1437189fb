"""``q2q serve``: the model servers."""

import os
from typing import Annotated, Any

import typer

from db.database import Database
from db.engines import EngineUse, add_external, list_engines, remove_external, set_price
from db.errors import Q2QError, UsageError
from db.jobs import INTERACTIVE_PRIORITY, enqueue
from db.server_keys import check_key, forget_key, keep_key
from db.settings import load_settings
from db.store.migrate import open_home
from db.workers.live import ensure_worker
from serving.engine.hardware import described_gpus
from serving.engine.plan import ServingPlan
from serving.engine.plan_types import PRECISION_NAMES
from serving.models.planned import plan_for
from workbench.cli.output import Json, inform, show, show_json, show_table
from workbench.cli.progress import watch_job
from workbench.cli.typer_app import CommandGroup
from workbench.jobs.lock import identity

app = CommandGroup()


@app.as_command()
def start(
    model: Annotated[
        str | None, typer.Argument(help="Name of a model [default: that of the settings].")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Serve it on the nodes of this Ray cluster, e.g. 10.0.0.1:6379."),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Engines on that cluster [default: 1].")
    ] = None,
    tensor_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="GPUs that share each layer.")
    ] = None,
    pipeline_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="GPUs that hold the layers one after another.")
    ] = None,
    data_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="Engines, each with the whole model.")
    ] = None,
    max_model_len: Annotated[
        int | None, typer.Option(min=256, help="Tokens of a request, prompt and completion.")
    ] = None,
    max_num_seqs: Annotated[
        int | None, typer.Option(min=1, help="Sequences that one engine decodes together.")
    ] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(min=0.05, max=1, help="Share of each GPU's memory.")
    ] = None,
    by_plan: Annotated[
        bool, typer.Option("--by-plan", help="Forget what was set for this model before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load a model into the workbench's own server, which then stays for later commands.

    How it is served follows from the hardware (`q2q serve plan`). What is set here in its place is
    kept for the model.

    Example:
      q2q serve start smollm2-135m-instruct
      q2q serve start smollm2-135m-instruct --max-num-seqs 32
      q2q serve start smollm2-135m-instruct --ray 10.0.0.1:6379 --replicas 4
    """
    given = {
        "tensor_parallel_size": tensor_parallel_size,
        "pipeline_parallel_size": pipeline_parallel_size,
        "data_parallel_size": data_parallel_size,
        "max_model_len": max_model_len,
        "max_num_seqs": max_num_seqs,
        "gpu_memory_utilization": gpu_memory_utilization,
    }
    limits = {name: value for name, value in given.items() if value is not None}
    payload: dict[str, Any] = {"model": model, **_cluster(ray, replicas)}
    if limits or by_plan:
        payload["limits"] = limits
    _run("serve_start", payload, as_json, keep_server=True)


def _cluster(address: str | None, replicas: int | None) -> dict[str, dict[str, Any]]:
    """Return what a job is told of the Ray cluster: nothing where the settings hold."""
    if address is None and replicas is None:
        return {}
    settings = load_settings()
    address = address or settings.ray_address
    if address is None:
        raise UsageError("--replicas is for a Ray cluster; name it with --ray ADDRESS.")
    return {"ray": {"address": address, "replicas": replicas or settings.ray_replicas}}


@app.as_command()
def stop(as_json: Json = False) -> None:
    """End the workbench's own server and everything it started.

    Example:
      q2q serve stop
    """
    _run("serve_stop", {}, as_json)


@app.as_command()
def status(
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask every server again what it can do.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the model servers, what they serve and what they can do.

    Example:
      q2q serve status --probe
    """
    if probe:
        _run("probe_engine", {}, as_json)
    else:
        with open_home() as (_, database):
            _show(database, as_json)


@app.as_command()
def plan(
    model: Annotated[
        str | None,
        typer.Argument(help="Name of a model, or a folder [default: that of the settings]."),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(help="GPUs that need not be there, such as 2x24, 4x80:9.0 or 1x16:7.5."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how a model would be served on this machine or on other GPUs, and why.

    Nothing is loaded. GPUs are described by their number, the memory they are sold with in GB and,
    after a colon, the compute capability (8.9 where it is left out).

    Example:
      q2q serve plan --gpus 2x24
    """
    described = described_gpus(gpus) if gpus is not None else None
    with open_home() as (settings, database), database.read() as session:
        found = plan_for(session, settings, model, described)
    if as_json:
        show_json({**found.model_dump(mode="json"), "why": str(found.why)})
        return
    show(found.why)
    show_table(_plan_rows(found), ("value", "is"))


def _plan_rows(found: ServingPlan) -> list[dict[str, object]]:
    rows = {
        "precision": PRECISION_NAMES[found.precision],
        "tensor_parallel_size": found.tensor_parallel,
        "pipeline_parallel_size": found.pipeline_parallel,
        "data_parallel_size": found.data_parallel,
        "max_model_len": found.max_model_len,
        "max_num_seqs": found.max_num_seqs,
    }
    if found.memory is not None:
        memory = found.memory
        rows |= {
            "gpu_memory_utilization": found.gpu_memory_utilization,
            "weights on each GPU": f"{memory.weights_gib:.1f} GiB",
            "working memory": f"{memory.working_gib:.1f} GiB",
            "cache": f"{memory.cache_gib:.1f} GiB, {memory.cache_tokens} tokens",
            "in all": f"{memory.total_gib:.1f} GiB",
        }
    return [{"value": name, "is": value} for name, value in rows.items()]


@app.as_command()
def add(
    name: Annotated[str, typer.Argument(help="How sweeps and pages call it.")],
    url: Annotated[str, typer.Argument(help="Root of its API, e.g. http://10.0.0.5:8000/v1.")],
    api_key_env: Annotated[
        str | None, typer.Option(help="Name of the environment variable that holds its key.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder with its tokenizer, to send token ids.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model whose weights it serves [default: as it calls them]."),
    ] = None,
    ask_key: Annotated[
        bool,
        typer.Option("--ask-key", help="Ask for its key, and keep it (never in the store)."),
    ] = False,
    offers: Annotated[
        str | None,
        typer.Option(help="With commas: those of its models to be used [default: all]."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a model server that runs elsewhere, and ask it what it can do.

    Servers of one model share its sweeps. With --model you say that the weights are just those,
    in one precision, whatever the server calls them. A key comes from an environment variable of
    the worker, or is asked for and kept in the system's keyring, or else in a file of the home.

    Example:
      q2q serve add teacher http://10.0.0.5:8000/v1
      q2q serve add second http://10.0.0.6:8000/v1 --model round-2
      q2q serve add hosted https://api.example.org/v1 --ask-key --offers large-2,small-2
    """
    if ask_key and api_key_env:
        raise UsageError("Give --ask-key or --api-key-env: a server has one key.")
    key = ""
    if ask_key:
        key = str(typer.prompt(f"Key of {name}", hide_input=True, err=True)).strip()
        check_key(key)
    with open_home() as (settings, database):
        with database.write() as session:
            names = [one.strip() for one in (offers or "").split(",") if one.strip()]
            add_external(
                session,
                name,
                url,
                api_key_env=api_key_env,
                tokenizer_path=tokenizer,
                model_name=model,
                offers={one: {} for one in names},
            )
            # A key that cannot be kept leaves no server behind.
            place = keep_key(settings.home_dir, url, key) if key else None
        if place is not None:
            where = "the system's keyring" if place == "keyring" else "a file of this home"
            inform(f"The key is kept in {where}, not in the store.")
    if api_key_env and api_key_env not in os.environ:
        inform(f"The variable {api_key_env} is not set here; set it where the worker runs.")
    _run("probe_engine", {"engine": name}, as_json)


@app.as_command()
def price(
    name: Annotated[str, typer.Argument(help="Name of an added server.")],
    model: Annotated[str, typer.Argument(help="One of its models, as the server calls it.")],
    input_: Annotated[
        float, typer.Option("--input", min=0, help="US dollars for a million tokens read.")
    ],
    output: Annotated[float, typer.Option(min=0, help="The same for tokens written.")],
    as_json: Json = False,
) -> None:
    """Set the price of a model, by which sweeps count their cost and keep to `max_cost`.

    Example:
      q2q serve price hosted small-2 --input 0.15 --output 0.6
    """
    with open_home() as (_, database), database.write() as session:
        set_price(session, name, model, {"input": input_, "output": output})
    _run("probe_engine", {"engine": name}, as_json)


@app.as_command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of an added server.")], as_json: Json = False
) -> None:
    """Take a server that runs elsewhere out of use; what it wrote stays, its kept key goes.

    Example:
      q2q serve remove teacher
    """
    with open_home() as (settings, database):
        with database.write() as session:
            gone = remove_external(session, name)
        if gone is not None:
            forget_key(settings.home_dir, gone)
        _show(database, as_json)


def _run(kind: str, payload: dict[str, Any], as_json: bool, *, keep_server: bool = False) -> None:
    with open_home() as (settings, database):
        with database.write() as session:
            own = None if kind == "probe_engine" else ensure_worker(session, **identity(settings))
            job_id = enqueue(
                session, kind, payload=payload, priority=INTERACTIVE_PRIORITY, worker_id=own
            )
        job = watch_job(settings, database, job_id, command=kind, keep_server=keep_server)
        if job.state != "done":
            raise Q2QError(job.error or "It was cancelled.")
        _show(database, as_json)


def _show(database: Database, as_json: bool) -> None:
    with database.read() as session:
        engines = list_engines(session)
    if as_json:
        show_json(engines)
        return
    rows = [
        {
            "name": engine.name,
            "state": engine.state,
            "models": [model.name for model in engine.models],
            "software": engine.software,
            "url": engine.url,
            "message": engine.message,
        }
        for engine in engines
    ]
    show_table(rows, ("name", "state", "models", "software", "url", "message"))
    uses = [_use(engine.name, use) for engine in engines for use in engine.load]
    if uses:
        show("")
        show_table(
            uses, ("server", "engine", "node", "gpus", "running", "waiting", "cache", "tokens/s")
        )


def _use(server: str, use: EngineUse) -> dict[str, object]:
    """Return how busy one engine is as a row of the table."""
    return {
        "server": server,
        "engine": use.engine,
        "node": use.node,
        "gpus": [
            f"{gpu.index} ({gpu.name}) {gpu.memory_used_gib:g} of {gpu.memory_total_gib:g} GiB"
            for gpu in use.gpus
        ],
        "running": use.running,
        "waiting": use.waiting,
        "cache": f"{use.kv_cache_usage:.0%}",
        "tokens/s": use.tokens_per_second,
    }
