"""Addresses of servers as people give them: checked before they are kept, shown without secrets."""

import re
from urllib.parse import urlsplit

from db.errors import UsageError

SERVER_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def masked(text: str) -> str:
    """Return ``text`` with ``***`` for user and password of every URL in it."""
    return _CREDENTIALS.sub("***@", text) if "@" in text else text


def check_server_name(name: str) -> None:
    """Refuse a name that a command line or a settings file could not hold.

    Raises:
        UsageError: It is empty, too long, or holds other signs.
    """
    if not SERVER_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a model server; use 1 to 40 letters, digits, dots, "
            "hyphens and underscores."
        )


def url_problem(url: str) -> str | None:
    """Return what is wrong with the address of a server, as the end of a sentence; None if nothing.

    Secrets do not belong into it: it is stored and shown, while keys are read from the environment.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no URL ({error})"
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        return "is no URL of a server; give one such as http://10.0.0.5:8000/v1"
    if port == 0:
        return "names port 0; give the port at which the server answers"
    if "@" in parts.netloc:
        return (
            "holds a user or a password, which would be stored and shown; leave them out and name "
            "the environment variable with the server's key (api_key_env)"
        )
    if parts.query or parts.fragment:
        return "has a part after ? or #; give the root of the API, such as http://10.0.0.5:8000/v1"
    return None


def check_server_url(url: str) -> None:
    """Refuse an address that no request can be sent to, or that holds a secret.

    Raises:
        UsageError: The sentence shows the address without its secrets.
    """
    if problem := url_problem(url):
        raise UsageError(f"{masked(url)!r} {problem}.")
