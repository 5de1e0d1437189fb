"""The way to a server: through which proxy, and whose certificates are believed."""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from db.messages import Message
from db.settings import masked
from serving.engine.messages import ServerMisconfigured


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
