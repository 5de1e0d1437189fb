"""One HTTP exchange with a model server, and what kind of failure it was. Knows no completions."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import orjson

from db.settings import masked
from serving.engine.http_errors import Stalled, broken, http_error, server_message, unreachable
from serving.engine.messages import Endpoint
from serving.engine.route import Proxy, proxy_of, trusted

ResultT = TypeVar("ResultT")

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 4.0
"""Shorter than any server's, so that a connection is not reused while the server closes it."""
_UNKNOWN = object()


class Transport:
    """Connections to one server. Use it as a context manager, or call ``close``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._route: Proxy | object | None = _UNKNOWN
        self.n_lost = 0
        """Connections that failed or broke: the server may have been started anew since."""
        self._deadlines: dict[asyncio.Timeout, float] = {}
        """Of the posts in the air: when each was sent, in the loop's time."""

    async def post(self, path: str, payload: dict[str, Any], *, timeout_s: float) -> bytes:
        """Return the body of a 200 answer to ``payload`` sent to the API's ``path``.

        Raises:
            EngineUnavailable: nothing answers at the address.
            RequestRefused: a 4xx that will not change by asking again.
            ServerGaveUp: its credit is used up.
            RequestFailed: everything else that asking again may cure.
        """
        return await self._exchange(
            "POST", self.endpoint.api + path, timeout_s, orjson.dumps(payload)
        )

    async def get(self, url: str, *, timeout_s: float) -> bytes:
        """Return the body of a 200 answer; raises like ``post``."""
        return await self._exchange("GET", url, timeout_s, None)

    def give_up_on(self, sent_before: float) -> int:
        """Count posts sent before ``sent_before`` (loop time) as stalled now; return how many.

        For a server that works on nothing: it has lost them.
        """
        old = [deadline for deadline, sent in self._deadlines.items() if sent < sent_before]
        for deadline in old:
            del self._deadlines[deadline]
            deadline.reschedule(asyncio.get_running_loop().time())
        return len(old)

    async def move_to(self, endpoint: Endpoint) -> None:
        """Follow the server to another address, as after it was started again."""
        self.endpoint, self._route = endpoint, _UNKNOWN
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _exchange(self, method: str, url: str, timeout_s: float, body: bytes | None) -> bytes:
        where = masked(self.endpoint.root)
        proxy = self._proxy()
        sent = asyncio.get_running_loop().time()
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                if method == "POST":
                    self._deadlines[deadline] = sent
                async with self._open().request(
                    method,
                    url,
                    data=body,
                    allow_redirects=False,
                    proxy=proxy.url if proxy is not None else None,
                ) as response:
                    answer = await response.read()
        except TimeoutError as error:
            if isinstance(error, aiohttp.ServerTimeoutError):
                self.n_lost += 1
                raise unreachable(where, error, proxy) from error
            waited = asyncio.get_running_loop().time() - sent
            raise Stalled(
                "The model server at {where} gave no answer in {waited:.1f} s.",
                where=where,
                waited=waited,
            ) from None
        except aiohttp.ClientError as error:
            self.n_lost += 1
            raise broken(where, error, proxy) from error
        finally:
            self._deadlines.pop(deadline, None)
        if response.status != 200:
            refusal = http_error(where, url, response.status, response.headers, answer, proxy)
            refusal.answered = (
                server_message(answer).removeprefix(": ") or f"HTTP {response.status}"
            )
            raise refusal
        return answer

    def _proxy(self) -> Proxy | None:
        if self._route is _UNKNOWN:
            self._route = proxy_of(self.endpoint.api)
        return self._route  # type: ignore[return-value]

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            is_secure = self.endpoint.url.startswith("https")
            if self.endpoint.api_key:
                headers["Authorization"] = f"Bearer {self.endpoint.api_key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=KEEP_ALIVE_S,
                    ssl=trusted(self.endpoint.ca_file) if is_secure else True,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                headers=headers,
            )
        return self._session


def blocking(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return what ``work`` returns, for code that cannot wait for it in an event loop."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
