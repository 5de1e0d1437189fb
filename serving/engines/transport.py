"""One HTTP exchange with a model server, and what kind of failure it was. Knows no completions."""

import asyncio
import email.utils
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from serving.engines.errors import EngineUnavailable, RequestFailed, RequestRefused
from serving.engines.messages import Endpoint

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 4.0
"""Shorter than any server's, so that a connection is not reused while the server closes it."""
_RETRIED_4XX = frozenset({408, 425, 429})


class Unreachable(EngineUnavailable):
    """Nothing answers at the address (now)."""


class Stalled(RequestFailed):
    """The deadline passed without an answer."""


class Busy(RequestFailed):
    """429 or 503; the server may have said when to come back."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Transport:
    """Connections to one server. Use it as a context manager, or call ``close``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._deadlines: dict[asyncio.Timeout, float] = {}
        """Of the posts in the air: when each was sent, in the loop's time."""

    async def post(self, path: str, payload: dict[str, Any], *, timeout_s: float) -> bytes:
        """Return the body of a 200 answer to ``payload`` sent to the API's ``path``.

        Raises:
            EngineUnavailable: nothing answers at the address.
            RequestRefused: a 4xx that will not change by asking again.
            RequestFailed: everything else that asking again may cure.
        """
        return await self._exchange(
            "POST", self.endpoint.api + path, timeout_s, orjson.dumps(payload)
        )

    async def get(self, url: str, *, timeout_s: float) -> bytes:
        """Return the body of a 200 answer; raises like ``post``."""
        return await self._exchange("GET", url, timeout_s, None)

    def expire(self, sent_before: float) -> int:
        """Let posts sent before ``sent_before`` (loop time) meet their deadline now; count them."""
        old = [deadline for deadline, sent in self._deadlines.items() if sent < sent_before]
        for deadline in old:
            del self._deadlines[deadline]
            deadline.reschedule(asyncio.get_running_loop().time())
        return len(old)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        where = self.endpoint.root
        sent = asyncio.get_running_loop().time()
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                if method == "POST":
                    self._deadlines[deadline] = sent
                async with self._open().request(
                    method, url, data=body, allow_redirects=False
                ) as response:
                    answer = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            raise Unreachable(
                f"Nothing answers at {where} ({_brief(error)}). "
                "Check that the model server runs and that its URL is right."
            ) from error
        except TimeoutError:
            waited = asyncio.get_running_loop().time() - sent
            raise Stalled(
                f"The model server at {where} gave no answer in {waited:.1f} s."
            ) from None
        except aiohttp.ClientError as error:
            raise RequestFailed(
                f"The connection to the model server at {where} broke ({_brief(error)})."
            ) from error
        finally:
            self._deadlines.pop(deadline, None)
        if response.status != 200:
            raise _http_error(where, response, answer)
        return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self.endpoint.api_key:
                headers["Authorization"] = f"Bearer {self.endpoint.api_key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                headers=headers,
            )
        return self._session


def _http_error(
    where: str, response: aiohttp.ClientResponse, body: bytes
) -> RequestRefused | RequestFailed:
    status = response.status
    said = _server_message(body)
    if status in (429, 503):
        return Busy(
            f"The model server at {where} is too busy (HTTP {status}{said}).",
            retry_after_s=_retry_after(response.headers.get("Retry-After")),
        )
    if status >= 500 or status in _RETRIED_4XX:
        return RequestFailed(f"The model server at {where} failed (HTTP {status}{said}).")
    if status in (401, 403):
        return RequestRefused(
            f"The model server at {where} does not accept the key (HTTP {status}). "
            "Put the right one into the environment variable that the settings name.",
            status=status,
        )
    return RequestRefused(
        f"The model server at {where} refused the request (HTTP {status}{said}).", status=status
    )


def _server_message(body: bytes) -> str:
    """Return ``": what the server said"``, shortened, or nothing if it said nothing readable."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if isinstance(parsed, dict):
        error = parsed.get("error", parsed)
        message = error.get("message") if isinstance(error, dict) else error
        if isinstance(message, str) and message:
            return ": " + " ".join(message.split())[:300]
    return ""


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (seconds or an HTTP date)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
