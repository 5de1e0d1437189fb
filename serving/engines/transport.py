"""One HTTP exchange with a model server, and what kind of failure it was. Knows no completions."""

import asyncio
import ssl
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from db.settings import masked
from serving.engines.errors import EngineUnavailable, RequestFailed, ServerMisconfigured
from serving.engines.messages import Endpoint
from serving.engines.refusals import http_error
from serving.engines.routes import Proxy, proxy_of, trusted

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 4.0
"""Shorter than any server's, so that a connection is not reused while the server closes it."""


_UNKNOWN = object()


class Unreachable(EngineUnavailable):
    """Nothing answers at the address (now)."""


class Stalled(RequestFailed):
    """The deadline passed without an answer."""


class Transport:
    """Connections to one server. Use it as a context manager, or call ``close``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._route: Proxy | object | None = _UNKNOWN
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
                raise _unreachable(where, error, proxy) from error
            waited = asyncio.get_running_loop().time() - sent
            raise Stalled(
                f"The model server at {where} gave no answer in {waited:.1f} s."
            ) from None
        except aiohttp.ClientError as error:
            raise _broken(where, error, proxy) from error
        finally:
            self._deadlines.pop(deadline, None)
        if response.status != 200:
            raise http_error(where, url, response.status, response.headers, answer, proxy)
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


def _broken(
    where: str, error: aiohttp.ClientError, proxy: Proxy | None
) -> EngineUnavailable | RequestFailed:
    """Return what a failed connection means: of the proxy, the certificate, or the server."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Unreachable(
            f"Nothing answers at {proxy} on the way to {where} ({_brief(error)}). Correct the "
            "variable, or add the server to NO_PROXY."
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Unreachable(
            f"The connection to {where} is refused by {proxy} (HTTP {error.status}). Correct the "
            "variable, or add the server to NO_PROXY."
        )
    if isinstance(error, ssl.CertificateError | ssl.SSLError):
        return _untrusted(where, error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unreachable(where, error, proxy)
    return RequestFailed(f"The connection to the model server at {where} broke ({_brief(error)}).")


def _untrusted(where: str, error: ssl.SSLError) -> ServerMisconfigured:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ServerMisconfigured(
            f"The server at {where} does not speak HTTPS as expected ({_brief(error)}). "
            "If it speaks plain HTTP, give its URL with http://."
        )
    cause = getattr(error, "certificate_error", error)
    reason = getattr(cause, "verify_message", "") or _brief(cause)
    return ServerMisconfigured(
        f"The certificate of the server at {where} is not trusted ({reason}). Name the file with "
        "the certificate of who issued it: ca_file in q2q.toml, or the environment variable "
        "SSL_CERT_FILE."
    )


def _unreachable(where: str, error: Exception, proxy: Proxy | None) -> Unreachable:
    through = f", through {proxy}" if proxy is not None else ""
    return Unreachable(
        f"Nothing answers at {where}{through} ({_brief(error)}). "
        "Check that the model server runs and that its URL is right."
    )


def _brief(error: BaseException) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__
