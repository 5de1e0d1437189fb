"""Keys of model servers: in the system's keyring, or in a file that only its owner reads.

The keyring is used where the package ``keyring`` is installed and finds one that it can write.
A key belongs to an address, and is sent nowhere else. It is never in the store, and so in no export
and no backup.
"""

import json
import os
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from db.errors import UsageError

SERVICE: Final = "q2q-workbench"
"""Name of the entries in the keyring; the user is the server's address."""
FILE: Final = "server_keys.json"
Place = Literal["keyring", "file"]


def keep_key(home: Path, url: str, key: str) -> Place:
    """Keep the key of the server at ``url``, in the place of an older one; return where.

    Raises:
        UsageError: It is no key that can be sent, or cannot be written.
    """
    check_key(key)
    forget_key(home, url)
    keyring = _keyring()
    if keyring is not None:
        with suppress(keyring.errors.KeyringError):
            keyring.set_password(SERVICE, _address(url), key)
            return "keyring"
    _write(home, {**_read(home), _address(url): key})
    return "file"


def find_key(home: Path, url: str) -> tuple[str, Place] | None:
    """Return the key of the server at ``url`` and where it is kept; None where there is none.

    Raises:
        UsageError: The file of keys is readable for others, or damaged.
    """
    kept = _read(home).get(_address(url))
    if kept is not None:
        return kept, "file"
    keyring = _keyring()
    found = None
    if keyring is not None:
        with suppress(keyring.errors.KeyringError):
            found = keyring.get_password(SERVICE, _address(url))
    return (str(found), "keyring") if found else None


def forget_key(home: Path, url: str) -> None:
    """Delete the key of the server at ``url``, wherever it is kept."""
    keys = _read(home)
    if keys.pop(_address(url), None) is not None:
        _write(home, keys)
    keyring = _keyring()
    if keyring is not None:
        with suppress(keyring.errors.KeyringError):
            keyring.delete_password(SERVICE, _address(url))


def check_key(key: str) -> None:
    """Refuse what no header of a request can hold.

    Raises:
        UsageError: It is empty, or holds other signs than those of ASCII on one line.
    """
    if not key or not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(
            "That is no key that can be sent: letters, digits and signs of ASCII, without spaces."
        )


def _address(url: str) -> str:
    return url.rstrip("/")


def _keyring() -> Any:
    """Return the package where it is installed and finds a keyring of the system, else None."""
    try:
        package = import_module("keyring")
        import_module("keyring.errors")
        return package if package.get_keyring().priority > 0 else None
    except Exception:  # a broken keyring is none: its back ends raise what they like
        return None


def _read(home: Path) -> dict[str, str]:
    path = home / FILE
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(
                "{path} can be read by others: run `chmod 600 {path}`, and have its keys replaced.",
                path=path,
            )
        keys = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            "The keys in {path} cannot be read ({reason}); delete the file and give them again.",
            path=path,
            reason=type(error).__name__,
        ) from None
    return {str(name): str(key) for name, key in keys.items()} if isinstance(keys, dict) else {}


def _write(home: Path, keys: dict[str, str]) -> None:
    """Replace the file; it is never open to others, not even for a moment."""
    path = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=home, prefix=f".{FILE}.")  # of mode 0600
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(keys, file)
        Path(name).replace(path)
        if not keys:
            path.unlink()
    except OSError as error:
        raise UsageError(
            "The key cannot be kept in {path} ({reason}).", path=path, reason=error.strerror
        ) from None
