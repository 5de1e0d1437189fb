"""Set the workbench up: ``.venv`` with the pinned packages, the embedded model, the database.

Standard library only, since it runs before anything is installed. What is done is remembered in
``.venv/q2q-setup.json``, so a second run takes a moment and an interrupted one goes on.

    sh scripts/setup.sh [--dev]      with --dev also what the tests need
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from serving.device import Device, resolve_device  # noqa: E402  (the path is set above)

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STATE = VENV / "q2q-setup.json"
COMMON = ROOT / "requirements" / "common.txt"
DEV = ROOT / "requirements-dev.txt"
OVERRIDES = ROOT / "requirements" / "overrides.txt"
CPU_OVERRIDES = ROOT / "requirements" / "overrides-cpu.txt"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NEEDED_GB: dict[Device, int] = {"cpu": 6, "cuda": 20}
"""Free disk for packages while they are being installed."""

NO_SPACE = re.compile(r"No space left|os error 28|Disk quota exceeded", re.IGNORECASE)
NO_NETWORK = re.compile(
    r"dns error|name resolution|resolve host|error sending request|Connection refused"
    r"|Failed to establish a new connection|Network is unreachable|timed out|ProxyError"
    r"|\(from versions: none\)",
    re.IGNORECASE,
)

CHANGED_PACKAGE = re.compile(r" [-+~] \S+==")
"""A line of uv's list of what it installed: 190 of them would hide what matters."""


class SetupError(Exception):
    """Set-up cannot go on; the text is one sentence for people with what to do."""


def main() -> int:
    """Set up what is missing and return the exit code."""
    parser = argparse.ArgumentParser(prog="make setup", description=__doc__.splitlines()[0])
    parser.add_argument("--dev", action="store_true", help="also install what the tests need")
    arguments = parser.parse_args()
    try:
        with one_at_a_time():
            set_up(dev=arguments.dev)
    except SetupError as error:
        say(f"Set-up stopped: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nSet-up was interrupted; run it again to go on.")
        return 130
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other set-up of this folder runs, and keep others waiting meanwhile."""
    with Path(__file__).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is running in this folder; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(*, dev: bool) -> None:
    """Bring packages, model and database up to date.

    Raises:
        SetupError: something is missing on this machine.
    """
    try:
        device = resolve_device()
    except ValueError as error:
        raise SetupError(str(error)) from error
    install_packages(device, dev=dev)
    if device == "cpu" and not embedded_model_is_made():
        run([PYTHON, "-m", "serving.models.embedded"], "The embedded model could not be made.")
    store = store_key()
    if store is None or read_state().get("store") != store:
        say("Preparing the database ...")
        run([VENV / "bin" / "q2q", "setup"], "The database could not be prepared.")
        write_state(read_state() | {"store": store_key() or "unknown"})


def install_packages(device: Device, *, dev: bool) -> None:
    """Install the pinned packages for ``device``, unless that is done already."""
    state = read_state()
    base_key, dev_key = packages_key(device), file_key(DEV)
    base_done = state.get("base") == base_key
    if base_done and (not dev or state.get("dev") == dev_key):
        return
    check_disk(device)
    # Packages for the other device provide the same modules, so they can't be mixed.
    make_venv(fresh=state.get("device", device) != device)
    dev = dev or "dev" in state
    write_state({"device": device} | ({"dev": "unfinished"} if dev else {}))
    say(f"Installing packages for {device} into {VENV} (a few minutes the first time) ...")
    requirements = [ROOT / ("requirements.txt" if device == "cuda" else "requirements-cpu.txt")]
    overrides = [OVERRIDES]
    pip("install", "--quiet", pin(COMMON, "uv"), failure="The installer uv could not be installed.")
    if device == "cpu":
        install_cpu_torch(pin(requirements[0], "torch"))
        overrides.append(CPU_OVERRIDES)
    if dev:
        requirements.append(DEV)
    uv_install(*flags("--override", overrides), *flags("--requirement", requirements))
    uv_install("--no-deps", "--editable", str(ROOT))
    write_state({"device": device, "base": base_key} | ({"dev": dev_key} if dev else {}))


def make_venv(*, fresh: bool) -> None:
    """Make ``.venv``, unless a working one is there and ``fresh`` is not asked for."""
    if not fresh and venv_works():
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        raise SetupError(
            f"{sys.executable} has no venv module. Install it (Debian, Ubuntu: apt-get install "
            f"python{version}-venv), or name another Python: make setup PYTHON=/path/to/python"
        )
    # This script may run on the Python of the .venv that is about to be replaced.
    base = Path(sys.base_prefix) / "bin" / f"python{version}"
    say(f"Making {VENV} with {base} ...")
    run([base, "-m", "venv", "--clear", VENV], f"{VENV} could not be made.")


def venv_works() -> bool:
    """Say whether ``.venv`` has a new enough Python and pip; making it may have been stopped."""
    check: list[str | Path] = [
        PYTHON,
        "-c",
        "import pip, sys; sys.exit(sys.version_info < (3, 11))",
    ]
    return (
        PYTHON.exists() and not subprocess.run(check, capture_output=True, check=False).returncode
    )


def install_cpu_torch(requirement: str) -> None:
    """Install the CPU build of torch: pip's own settings may know one, else PyTorch's index."""
    if subprocess.run(
        [PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", requirement],
        env=environment(),
        capture_output=True,
        check=False,
    ).returncode:
        pip(
            *("install", "--no-deps", "--index-url", TORCH_CPU_INDEX, requirement),
            failure=f"{requirement} could not be installed.",
        )


def pip(*arguments: str, failure: str) -> None:
    """Run the pip of ``.venv``."""
    run([PYTHON, "-m", "pip", *arguments], failure)


def uv_install(*arguments: str) -> None:
    """Install with uv, which is many times faster than pip."""
    uv: list[str | Path] = [VENV / "bin" / "uv", "pip", "install", "--python", PYTHON, *arguments]
    run(uv, "The packages could not be installed.")


def run(command: list[str | Path], failure: str) -> None:
    """Run ``command`` in the repository, showing what it prints.

    Raises:
        SetupError: it failed; the sentence names the likely cause.
    """
    lines: list[str] = []
    with subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if not CHANGED_PACKAGE.match(line):
                say(line.rstrip("\n"))
    if process.returncode:
        raise SetupError(f"{failure} {remedy(''.join(lines))}")


def remedy(output: str) -> str:
    """Say what to do about a command that failed with ``output``."""
    if NO_SPACE.search(output):
        return f"The disk is full: free some space on the disk of {ROOT} and run it again."
    if NO_NETWORK.search(output):
        return "The package index was not reached: check network and proxy and run it again."
    return "The lines above say why; run it again to go on from here."


def check_disk(device: Device) -> None:
    """Raise SetupError unless the packages for ``device`` fit on the disk."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < NEEDED_GB[device]:
        raise SetupError(
            f"The disk of {ROOT} has {free_gb:.1f} GB free and the packages need "
            f"{NEEDED_GB[device]} GB. Free some space and run it again."
        )


def environment() -> dict[str, str]:
    """Return the environment for children: no questions, no user site, nothing but ``.venv``."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {
        "VIRTUAL_ENV": str(VENV),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_USER": "0",
    }


def pin(requirements: Path, name: str) -> str:
    """Return the line of ``requirements`` that pins ``name``."""
    lines = requirements.read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{name}=="))


def flags(option: str, paths: list[Path]) -> list[str]:
    """Return ``option`` before each path."""
    return [part for path in paths for part in (option, str(path))]


def packages_key(device: Device) -> str:
    """Return a hash that changes when other packages, or another installation, are needed."""
    files = [*ROOT.glob("requirements*.txt"), *ROOT.glob("requirements/*.txt")]
    chosen = sorted(file for file in files if file != DEV)
    return file_key(*chosen, ROOT / "pyproject.toml") + f"-{device}-{ROOT}"


def store_key() -> str | None:
    """Return a hash of the store's place and version and of the migrations; None without a store.

    A store that is a URL has no version here: ``q2q up`` looks at it each time.
    """
    store = os.environ.get("Q2Q_DATABASE_URL") or home_store()
    version = None if isinstance(store, str) else store_version(store)
    if isinstance(store, Path) and version is None:
        return None
    names = sorted(path.name for path in (ROOT / "db" / "migrations" / "versions").glob("*.py"))
    return hashlib.sha256("\n".join([str(store), str(version), *names]).encode()).hexdigest()


def store_version(path: Path) -> str | None:
    """Return the version of the store's tables; None where no store can be read."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return str(connection.execute("SELECT version_num FROM alembic_version").fetchone())
    except sqlite3.Error:
        return None


def file_key(*paths: Path) -> str:
    """Return a hash of the contents of ``paths``."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def embedded_model_is_made() -> bool:
    """Say whether the embedded model lies where it does by default; a wrong no costs a second."""
    cache = Path(os.environ.get("Q2Q_CACHE", "~/.cache/q2q")).expanduser()
    return (cache / "models" / "smollm2-135m-instruct" / "manifest.json").is_file()


def home_store() -> Path:
    """Return the file of the store."""
    return Path(os.environ.get("Q2Q_HOME", "~/.q2q")).expanduser().absolute() / "q2q.sqlite"


def read_state() -> dict[str, str]:
    """Return what earlier runs finished; empty where ``.venv`` is new, gone or does not work."""
    try:
        return dict(json.loads(STATE.read_text())) if PYTHON.exists() else {}
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def write_state(state: dict[str, str]) -> None:
    """Remember what is finished; the file is replaced as a whole."""
    scratch = STATE.with_suffix(".new")
    scratch.write_text(json.dumps(state, indent=2) + "\n")
    scratch.replace(STATE)


def say(line: str) -> None:
    """Tell people what goes on, on stderr; ``make``'s own output stays usable by programs."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
