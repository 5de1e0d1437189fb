"""Python and its packages against the tested versions, which stand in the requirements files."""

import re
import sys
from importlib import metadata
from pathlib import Path

from serving.device import Device
from workbench.doctor.check import Check, fail, ok, warn

ROOT = Path(__file__).parents[2]
FILES: dict[Device, str] = {"cpu": "requirements-cpu.txt", "cuda": "requirements.txt"}
TESTED_PYTHONS = ((3, 11), (3, 12))
AGAIN = "Run `make setup`; if that changes nothing, delete .venv and run it again."

_PIN = re.compile(r"^(?P<name>[\w.-]+)(\[[\w,]+\])?==(?P<version>\S+)")
_INCLUDE = re.compile(r"^-r\s+(?P<file>\S+)")


def read_pins(file: Path) -> dict[str, str]:
    """Return the tested version of each package that ``file``, or a file it includes, pins."""
    pins: dict[str, str] = {}
    for line in file.read_text("utf-8").splitlines():
        if include := _INCLUDE.match(line):
            pins |= read_pins(file.parent / include["file"])
        elif pin := _PIN.match(line):
            pins[pin["name"]] = pin["version"]
    return pins


def check_python(version: tuple[int, int] | None = None) -> Check:
    """Compare the Python that runs this (or ``version``) with the tested ones."""
    version = version or (sys.version_info.major, sys.version_info.minor)
    shown = ".".join(map(str, version))
    if version in TESTED_PYTHONS:
        return ok("Python", f"{shown} at {sys.executable}")
    tested = " and ".join(".".join(map(str, each)) for each in TESTED_PYTHONS)
    return warn(
        "Python",
        f"{shown} is not tested with these packages; tested are {tested}.",
        "If something fails, delete .venv and run `make setup PYTHON=/path/to/python3.11`.",
    )


def check_packages(device: Device, root: Path = ROOT) -> Check:
    """Compare the installed packages with the pins for ``device``, importing none of them."""
    name, file = "Packages", root / FILES[device]
    if not file.is_file():
        return warn(
            name,
            f"{file} is not there, so versions can't be compared.",
            "Run the workbench from its own folder: git clone it and run `make setup`.",
        )
    pins = read_pins(file)
    installed = {package: _installed(package) for package in pins}
    missing = [package for package, version in installed.items() if version is None]
    if missing:
        return fail(name, f"Not installed for {device}: {', '.join(missing)}.", AGAIN)
    others = [
        f"{package} {version} (tested: {pins[package]})"
        for package, version in installed.items()
        if version and not _agrees(version, pins[package])
    ]
    if others:
        return warn(name, f"Other versions than tested: {', '.join(others)}.", AGAIN)
    return ok(name, f"{len(pins)} packages for {device} have their tested versions")


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _agrees(installed: str, tested: str) -> bool:
    """Compare without the local part (``+cu130``) unless the tested version names one."""
    return installed == tested or installed.partition("+")[0] == tested
