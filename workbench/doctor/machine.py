"""The machine: device, memory, disk and ports."""

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil

from db.errors import free_bytes
from db.settings import Settings
from serving.device import Device
from serving.engine.command import is_free
from serving.engine.server import read_record
from workbench.doctor.check import Check, fail, ok, warn
from workbench.jobs.lock import read_owner

GIB = 1024**3
NVIDIA_SMI = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,driver_version",
    "--format=csv,noheader",
)
CPU_SERVER_GIB = 3
"""What the model server takes on a CPU besides the key/value cache, with the embedded model."""
LEAST_DISK_GB = 1
ROOMY_DISK_GB = 5


def check_device(device: Device) -> Check:
    """Say what models run on: the GPUs, or the processor and whether vLLM can use it."""
    return _check_gpu() if device == "cuda" else check_processor()


def _check_gpu() -> Check:
    remedy = (
        "Install or restart the NVIDIA driver until `nvidia-smi` lists the GPU, "
        "or set Q2Q_DEVICE=cpu and run `make setup`."
    )
    try:
        asked = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=5, check=True)
    except FileNotFoundError:
        return fail("Device", "nvidia-smi, which comes with the NVIDIA driver, is missing.", remedy)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return fail("Device", f"The NVIDIA driver does not answer: {error}.", remedy)
    gpus = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
    if not gpus:
        return fail("Device", "The NVIDIA driver runs but sees no GPU.", remedy)
    return ok("Device", "GPU: " + "; ".join(gpus))


def check_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Check:
    """Say how many cores there are and whether vLLM has kernels for them."""
    shown = f"CPU with {os.cpu_count()} cores"
    if platform.machine() == "x86_64":
        flags = set(cpuinfo.read_text("utf-8").split())
        if "avx2" not in flags:
            return fail(
                "Device",
                f"{shown}, without AVX2, which vLLM needs.",
                "Use a machine with AVX2 or an NVIDIA GPU, or name a model server elsewhere "
                "under `servers` in q2q.toml.",
            )
        shown += ", AVX-512" if "avx512f" in flags else ", AVX2"
    return ok("Device", shown)


def check_memory(settings: Settings, device: Device) -> Check:
    """Compare free memory with what the model server will take on this device."""
    memory = psutil.virtual_memory()
    shown = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB are available"
    needed = CPU_SERVER_GIB + (settings.kv_cache_gib if device == "cpu" else 0)
    if memory.available >= needed * GIB or _server_runs(settings):
        return ok("Memory", shown)
    return warn(
        "Memory",
        f"{shown}; the model server takes about {needed} GiB.",
        "End other programs, or lower Q2Q_KV_CACHE_GIB.",
    )


def check_disk(settings: Settings) -> Check:
    """Look for room under the home and under the cache."""
    rooms = {folder: free_bytes(folder) / 1e9 for folder in (settings.home_dir, settings.cache_dir)}
    folder, free_gb = min(rooms.items(), key=lambda room: room[1])
    shown = f"{free_gb:.0f} GB are free for {folder}"
    if free_gb >= ROOMY_DISK_GB:
        return ok("Disk", shown)
    remedy = "Free some space, or put the folder elsewhere with Q2Q_HOME or Q2Q_CACHE."
    return (warn if free_gb >= LEAST_DISK_GB else fail)("Disk", f"Only {shown}.", remedy)


def check_ports(settings: Settings) -> Check:
    """See that the page and the model server can listen, or already do."""
    port = settings.app_port
    owner = read_owner(settings.home_dir, "up")
    if owner is not None and owner.url:
        return ok("Ports", f"The page is at {owner.url}")
    if not is_free(port):
        return fail(
            "Ports",
            f"Another program listens on port {port}, the page's.",
            f"End it, or choose another: Q2Q_APP_PORT={_next_free(port)} or "
            f"`q2q up --port {_next_free(port)}`.",
        )
    if settings.server_port and not is_free(settings.server_port) and not _server_runs(settings):
        return fail(
            "Ports",
            f"Another program listens on port {settings.server_port}, the model server's.",
            "End it, or set Q2Q_SERVER_PORT=0 to take a free one each time.",
        )
    return ok("Ports", f"Port {port} is free for the page")


def _next_free(port: int) -> int:
    return next((each for each in range(port + 1, port + 100) if is_free(each)), port + 100)


def _server_runs(settings: Settings) -> bool:
    record = read_record(settings.home_dir)
    return record is not None and record.process.is_alive()


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
