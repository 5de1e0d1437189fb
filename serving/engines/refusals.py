"""What a status other than 200 means, in a sentence with a remedy."""

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

from db.settings import masked
from serving.engines.answer_json import parse_json, storable
from serving.engines.errors import Busy, RequestFailed, RequestRefused
from serving.engines.routes import Proxy

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
    said = server_message(body)
    if 300 <= status < 400:
        return RequestRefused(_redirected(where, url, status, headers), status=status)
    if status == 407:
        name = proxy or "a proxy"
        return RequestRefused(
            f"The way to {where} is refused by {name} (HTTP 407{said}): it wants a user and a "
            "password. Put them into the proxy's URL, or add the server to NO_PROXY.",
            status=status,
        )
    through = f", through {proxy}" if proxy is not None and status in _GATEWAY else ""
    if status in (429, 503):
        return Busy(
            f"The model server at {where} is too busy (HTTP {status}{said}){through}.",
            retry_after_s=retry_after_s(headers.get("Retry-After")),
        )
    if status >= 500 or status in _RETRIED_4XX:
        return RequestFailed(f"The model server at {where} failed (HTTP {status}{said}){through}.")
    if status in (401, 403):
        return RequestRefused(
            f"The model server at {where} does not accept the key (HTTP {status}). "
            "Put the right one into the environment variable that the settings name.",
            status=status,
        )
    return RequestRefused(
        f"The model server at {where} refused the request (HTTP {status}{said}).", status=status
    )


def _redirected(where: str, url: str, status: int, headers: Mapping[str, str]) -> str:
    """Say where a redirect points; it is never followed, since the key would go along."""
    location = storable(headers.get("Location", ""))[:300]
    if not location:
        return f"The model server at {where} redirects (HTTP {status}) without saying where to."
    path = urlsplit(url).path
    sent = next((end for end in _ENDPOINTS if path.endswith(end)), None)
    try:
        target = urljoin(url, location)
        is_endpoint = sent is not None and urlsplit(target).path.rstrip("/").endswith(sent)
    except ValueError:
        target, is_endpoint = location, False
    if sent is None or not is_endpoint:
        return (
            f"The model server at {where} redirects to {masked(target)} (HTTP {status}), which is "
            "no address of its API; correct its URL."
        )
    root = masked(target.partition("?")[0].rstrip("/").removesuffix(sent))
    return (
        f"The model server at {where} redirects to {masked(target)} (HTTP {status}), which is not "
        f"followed, as the key would go along; give {root} as its URL."
    )


def server_message(body: bytes) -> str:
    """Return ``": what the server said"``, shortened, or nothing if it said nothing readable."""
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
