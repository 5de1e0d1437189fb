"""The best raw client load: bare HTTP requests to a completion server, no store, no checks.

Three shapes of the same work (every prompt ``n`` times): one completion a request, ``n``
completions a request, and lists of prompts. Knows nothing of sweeps.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One measured load."""

    completion_tokens: int
    seconds: float
    failed: int

    @property
    def tokens_per_second(self) -> float:
        """Completion tokens per second."""
        return self.completion_tokens / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the work is cut into requests."""

    name: str
    prompts_per_request: int
    n: int
    """Completions of each prompt in one request."""
    in_flight: int
    """Requests at a time."""


def bodies(
    prompts: Sequence[Sequence[int]], n: int, shape: Shape, common: dict[str, Any]
) -> list[bytes]:
    """Return the request bodies that ask for each prompt ``n`` times in the given shape."""
    repeated = [list(prompt) for prompt in prompts for _ in range(n // shape.n)]
    size = shape.prompts_per_request
    result = []
    for start in range(0, len(repeated), size):
        chunk = repeated[start : start + size]
        seed = {} if common.get("seed") is None else {"seed": common["seed"] + start}
        body = {**common, **seed, "prompt": chunk if size > 1 else chunk[0], "n": shape.n}
        result.append(orjson.dumps({k: v for k, v in body.items() if v is not None}))
    return result


async def run_load(
    url: str, key: str, requests: Sequence[bytes], *, in_flight: int, timeout_s: float = 600
) -> Load:
    """Send ``requests``, ``in_flight`` at a time, and sum what came back."""
    queue = iter(requests)
    tokens = failed = 0
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    connector = aiohttp.TCPConnector(limit=0)

    async def lane(session: aiohttp.ClientSession) -> None:
        nonlocal tokens, failed
        for body in queue:
            try:
                async with session.post(url + "/completions", data=body) as response:
                    answer = orjson.loads(await response.read())
                    tokens += answer["usage"]["completion_tokens"]
            except (aiohttp.ClientError, TimeoutError, KeyError):
                failed += 1

    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers
    ) as session:
        started = time.perf_counter()
        await asyncio.gather(*(lane(session) for _ in range(in_flight)))
        seconds = time.perf_counter() - started
    assert failed < len(requests), f"no request to {url} came back"
    return Load(completion_tokens=tokens, seconds=seconds, failed=failed)
