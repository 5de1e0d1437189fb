"""Adapters are brought to a running server: one that it refuses never ends its base."""

from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from serving.engine.command import Adapter, ServerSpec
from serving.engine.messages import Endpoint
from serving.engine.supervisor import load_adapters


def spec(*names: str) -> ServerSpec:
    adapters = tuple(Adapter(name=name, path=Path(f"/runs/{name}"), rank=8) for name in names)
    return ServerSpec(model=Path("/m"), served_name="base", context_length=64, adapters=adapters)


async def served(wanted: ServerSpec, there: tuple[str, ...] = ()) -> tuple[dict[str, str], Any]:
    """Return what was refused and what the server was asked, by a server that takes no ``bad``."""
    asked: list[tuple[str, str, str]] = []

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in ("base", *there)]})

    async def load(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append((request.headers["Authorization"], body["lora_name"], body["lora_path"]))
        if body["lora_name"] == "bad":
            error = {"message": "While loading /runs/bad, expected\n target modules.", "code": 500}
            return web.json_response({"error": error}, status=500)
        return web.Response(text="Success")

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/load_lora_adapter", load)
    async with TestServer(app) as server:
        endpoint = Endpoint(url=str(server.make_url("/v1")), api_key="secret")
        return await load_adapters(endpoint, wanted), asked


async def test_a_refused_adapter_is_left_out_with_the_servers_reason() -> None:
    refused, asked = await served(spec("one", "bad", "two"))
    assert refused == {"bad": "While loading /runs/bad, expected target modules"}
    assert asked == [("Bearer secret", name, f"/runs/{name}") for name in ("one", "bad", "two")]


async def test_an_adopted_server_is_asked_only_for_what_it_lacks() -> None:
    refused, asked = await served(spec("one", "two"), there=("one",))
    assert (refused, [name for _, name, _ in asked]) == ({}, ["two"])
    assert await served(spec()) == ({}, [])
