"""What a failed exchange with a model server means, as an error with a sentence."""

import email.utils
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

import aiohttp

from db.messages import Message
from db.settings import masked
from serving.engine.messages import (
    Busy,
    EngineUnavailable,
    RequestFailed,
    RequestRefused,
    ServerGaveUp,
    ServerMisconfigured,
)
from serving.engine.responses import parse_json, storable
from serving.engine.route import Proxy

_RETRIED_4XX = frozenset({408, 425, 429})
_GATEWAY = frozenset({502, 503, 504})
_NO_CREDIT = frozenset(
    {"insufficient_quota", "insufficient_balance", "billing_not_active", "credit_balance_too_low"}
    | {"billing_hard_limit_reached", "insufficient_credits", "payment_required"}
)
"""Codes and types of errors by which servers say so, with whatever status."""
_ENDPOINTS = ("/completions", "/models", "/chat/completions", "/health", "/metrics", "/version")


def http_error(
    where: str,
    url: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    proxy: Proxy | None = None,
) -> RequestRefused | RequestFailed | ServerGaveUp:
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
    if status == 402 or _error_codes(body) & _NO_CREDIT:
        return ServerGaveUp(
            "The credit at the model server {where} is used up (HTTP {status}{detail}). Top it up "
            "there and resume; what came before is stored.",
            where=where,
            status=status,
            detail=detail,
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
            is_rate_limit=status == 429,
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
            "The model server at {where} does not accept the key (HTTP {status}). Give the right "
            "one on Models, or put it into the environment variable that the settings name.",
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


def _error_codes(body: bytes) -> frozenset[str]:
    """Return ``code`` and ``type`` of the error in ``body``, as far as there are any."""
    parsed = parse_json(body)
    error = parsed.get("error") if isinstance(parsed, dict) else None
    found = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    return frozenset(one.lower() for one in found if isinstance(one, str))


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


def broken(
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
        return unreachable(where, error, proxy)
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


def unreachable(where: str, error: Exception, proxy: Proxy | None) -> Unreachable:
    """Return the error for a server that cannot be connected to."""
    return Unreachable(
        "Nothing answers at {where}{through} ({detail}). "
        "Check that the model server runs and that its URL is right.",
        where=where,
        through=_through(proxy),
        detail=_brief(error),
    )


def _brief(error: BaseException) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__
