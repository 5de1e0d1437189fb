"""Adapters brought to a server that runs: one that it refuses is left out, the base stays up.

Adapters named on vLLM's command line would end the whole server where one of them is refused.
"""

import contextlib
import json
from http import HTTPStatus

import aiohttp

from serving.engines.errors import EngineUnavailable
from serving.engines.messages import Endpoint
from serving.engines.process import ServerSpec

_TIMEOUT_S = 300.0
_SHOWN = 300


async def load_adapters(endpoint: Endpoint, spec: ServerSpec) -> dict[str, str]:
    """Load the adapters of ``spec`` that the server lacks; return those it refuses, with why.

    Raises:
        EngineUnavailable: The server does not answer.
    """
    if not spec.adapters:
        return {}
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    refused = {}
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            there = await _offered(session, endpoint)
            for adapter in spec.adapters:
                if adapter.name in there:
                    continue
                body = {"lora_name": adapter.name, "lora_path": str(adapter.path)}
                url = f"{endpoint.api}/load_lora_adapter"
                async with session.post(url, json=body) as answer:
                    if answer.status != HTTPStatus.OK:
                        refused[adapter.name] = _reason(answer.status, await answer.read())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise EngineUnavailable(
            f"The model server did not answer while it loaded its adapters ({error})."
        ) from error
    return refused


async def _offered(session: aiohttp.ClientSession, endpoint: Endpoint) -> set[str]:
    async with session.get(f"{endpoint.api}/models") as answer:
        listed = await answer.json()
    return {str(entry.get("id")) for entry in listed.get("data", ())}


def _reason(status: int, body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"]["message"])
    return " ".join(text.split())[:_SHOWN].rstrip(".") or f"HTTP {status}"
