"""One HTTP exchange with a model server, and what kind of failure it was. Knows no completions."""

import asyncio
import email.utils
import ipaddress
import os
import ssl
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import orjson

from db.messages import Message
from db.settings import masked
from serving.engine.messages import (
    Busy,
    Endpoint,
    EngineUnavailable,
    RequestFailed,
    RequestRefused,
    ServerMisconfigured,
)
from serving.engine.responses import parse_json, storable

ResultT = TypeVar("ResultT")

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 4.0
"""Shorter than any server's, so that a connection is not reused while the server closes it."""
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that requests to a server go through."""

    url: str
    variable: str
    """The environment variable that names it."""

    def __str__(self) -> str:
        return Message(
            "the proxy {url} (environment variable {variable})",
            url=masked(self.url),
            variable=self.variable,
        )


def proxy_of(url: str) -> Proxy | None:
    """Return the proxy that the environment names for ``url``; None: go there directly.

    ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` count, in either case. This
    machine itself is never reached through a proxy.

    Raises:
        ServerMisconfigured: The proxy is of a kind that cannot be used.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies_environment()
    if is_loopback(host) or _is_excepted(host, parts.port, proxies):
        return None
    scheme = parts.scheme if parts.scheme in proxies else "all"
    if scheme not in proxies:
        return None
    variable = f"{scheme}_proxy"  # which wins over the one in capitals
    if variable not in os.environ:
        variable = variable.upper()
    found = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
    proxy = Proxy(found, variable)
    if urlsplit(found).scheme not in ("http", "https"):
        raise ServerMisconfigured(
            "{url} would be reached through {proxy}, but only http proxies can be used. "
            "Name one in {variable}, or add {host} to NO_PROXY.",
            url=masked(url),
            proxy=proxy,
            variable=variable,
            host=host,
        )
    return proxy


def _is_excepted(host: str, port: int | None, proxies: dict[str, str]) -> bool:
    """Tell whether ``NO_PROXY`` names the host, by itself, as a domain, or with its port."""
    at = f"{host}:{port}" if port else host
    return bool(proxy_bypass(at, proxies))


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def trusted(ca_file: Path | None) -> ssl.SSLContext:
    """Return what certificates are checked against: the system's, and those of ``ca_file``.

    The system's are those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` where these are set.

    Raises:
        ServerMisconfigured: ``ca_file`` cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file.expanduser())
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or "it holds no certificate in PEM form"
            raise ServerMisconfigured(
                "The certificates of the setting ca_file cannot be read ({ca_file}: {reason}). "
                "Name a PEM file.",
                ca_file=ca_file,
                reason=reason,
            ) from error
    return context


_RETRIED_4XX = frozenset({408, 425, 429})
_GATEWAY = frozenset({502, 503, 504})
_ENDPOINTS = ("/completions", "/models", "/chat/completions", "/health", "/metrics", "/version")


def http_error(
    where: str,
    url: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    proxy: Proxy | None = None,
) -> RequestRefused | RequestFailed:
    """Return the error for an answer with ``status`` to a request sent to ``url``.

    Args:
        where: The server as sentences name it.
        url: What was asked for.
        status: Of the answer; not 200.
        headers: Of the answer.
        body: Of the answer.
        proxy: What the request went through.
    """
    detail = server_message(body)
    if 300 <= status < 400:
        return _redirected(where, url, status, headers)
    if status == 407:
        name = proxy or "a proxy"
        return RequestRefused(
            "The way to {where} is refused by {name} (HTTP 407{detail}): it wants a user and a "
            "password. Put them into the proxy's URL, or add the server to NO_PROXY.",
            where=where,
            name=name,
            detail=detail,
            status=status,
        )
    through = _through(proxy if status in _GATEWAY else None)
    if status in (429, 503):
        return Busy(
            "The model server at {where} is too busy (HTTP {status}{detail}){through}.",
            where=where,
            status=status,
            detail=detail,
            through=through,
            retry_after_s=retry_after_s(headers.get("Retry-After")),
        )
    if status >= 500 or status in _RETRIED_4XX:
        return RequestFailed(
            "The model server at {where} failed (HTTP {status}{detail}){through}.",
            where=where,
            status=status,
            detail=detail,
            through=through,
        )
    if status in (401, 403):
        return RequestRefused(
            "The model server at {where} does not accept the key (HTTP {status}). "
            "Put the right one into the environment variable that the settings name.",
            where=where,
            status=status,
        )
    return RequestRefused(
        "The model server at {where} refused the request (HTTP {status}{detail}).",
        where=where,
        status=status,
        detail=detail,
    )


def _through(proxy: Proxy | None) -> str:
    return "" if proxy is None else Message(", through {proxy}", proxy=proxy)


def _redirected(where: str, url: str, status: int, headers: Mapping[str, str]) -> RequestRefused:
    """Say where a redirect points; it is never followed, since the key would go along."""
    location = storable(headers.get("Location", ""))[:300]
    if not location:
        return RequestRefused(
            "The model server at {where} redirects (HTTP {status}) without saying where to.",
            where=where,
            status=status,
        )
    path = urlsplit(url).path
    sent = next((end for end in _ENDPOINTS if path.endswith(end)), None)
    try:
        target = urljoin(url, location)
        is_endpoint = sent is not None and urlsplit(target).path.rstrip("/").endswith(sent)
    except ValueError:
        target, is_endpoint = location, False
    if sent is None or not is_endpoint:
        return RequestRefused(
            "The model server at {where} redirects to {target} (HTTP {status}), which is no"
            " address of its API; correct its URL.",
            where=where,
            target=masked(target),
            status=status,
        )
    root = masked(target.partition("?")[0].rstrip("/").removesuffix(sent))
    return RequestRefused(
        "The model server at {where} redirects to {target} (HTTP {status}), which is not followed,"
        " as the key would go along; give {root} as its URL.",
        where=where,
        target=masked(target),
        status=status,
        root=root,
    )


def server_message(body: bytes) -> str:
    """Return ``": the server's own sentence"``, shortened; nothing if none can be read."""
    parsed = parse_json(body)
    if isinstance(parsed, dict):
        error = parsed.get("error", parsed)
        message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
        if isinstance(message, str) and message:
            return ": " + masked(storable(" ".join(message.split())))[:300]
    return ""


def retry_after_s(value: str | None) -> float | None:
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

    def give_up_on(self, sent_before: float) -> int:
        """Count posts sent before ``sent_before`` (loop time) as stalled now; return how many.

        For a server that works on nothing: it has lost them.
        """
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
                "The model server at {where} gave no answer in {waited:.1f} s.",
                where=where,
                waited=waited,
            ) from None
        except aiohttp.ClientError as error:
            raise _broken(where, error, proxy) from error
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


def _broken(
    where: str, error: aiohttp.ClientError, proxy: Proxy | None
) -> EngineUnavailable | RequestFailed:
    """Return what a failed connection means: of the proxy, the certificate, or the server."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Unreachable(
            "Nothing answers at {proxy} on the way to {where} ({detail}). Correct the "
            "variable, or add the server to NO_PROXY.",
            proxy=proxy,
            where=where,
            detail=_brief(error),
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Unreachable(
            "The connection to {where} is refused by {proxy} (HTTP {status}). Correct the "
            "variable, or add the server to NO_PROXY.",
            where=where,
            proxy=proxy,
            status=error.status,
        )
    if isinstance(error, ssl.CertificateError | ssl.SSLError):
        return _untrusted(where, error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unreachable(where, error, proxy)
    return RequestFailed(
        "The connection to the model server at {where} broke ({detail}).",
        where=where,
        detail=_brief(error),
    )


def _untrusted(where: str, error: ssl.SSLError) -> ServerMisconfigured:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ServerMisconfigured(
            "The server at {where} does not speak HTTPS as expected ({detail}). "
            "If it speaks plain HTTP, give its URL with http://.",
            where=where,
            detail=_brief(error),
        )
    cause = getattr(error, "certificate_error", error)
    reason = getattr(cause, "verify_message", "") or _brief(cause)
    return ServerMisconfigured(
        "The certificate of the server at {where} is not trusted ({reason}). Name the file with "
        "the certificate of who issued it: ca_file in q2q.toml, or the environment variable "
        "SSL_CERT_FILE.",
        where=where,
        reason=reason,
    )


def _unreachable(where: str, error: Exception, proxy: Proxy | None) -> Unreachable:
    return Unreachable(
        "Nothing answers at {where}{through} ({detail}). "
        "Check that the model server runs and that its URL is right.",
        where=where,
        through=_through(proxy),
        detail=_brief(error),
    )


def _brief(error: BaseException) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__


def blocking(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return what ``work`` returns, for code that cannot wait for it in an event loop."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
