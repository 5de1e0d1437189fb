import ast
import importlib.util
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from serving import device as device_module
from serving.device import resolve_device
from workbench.doctor.machine import read_pins

ROOT = Path(__file__).parents[2]
REQUIREMENT_FILES = (
    "requirements.txt",
    "requirements-cpu.txt",
    "requirements-dev.txt",
    "requirements-cluster.txt",
    "requirements/common.txt",
    "requirements/overrides.txt",
    "requirements/overrides-cpu.txt",
    "pyproject.toml",
)


class Recorder:
    """Stands in for the commands of the set-up and remembers them."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.commands: list[str] = []
        self.broken: str | None = None

    def __call__(self, command: list[object], failure: str) -> None:
        line = " ".join(map(str, command))
        self.commands.append(line)
        if self.broken and self.broken in line:
            raise KeyboardInterrupt
        if " -m venv " in line:
            (self.venv / "bin").mkdir(parents=True, exist_ok=True)
            (self.venv / "bin" / "python").touch()
            (self.venv / "q2q-setup.json").unlink(missing_ok=True)

    def position(self, words: str) -> int:
        return next(i for i, line in enumerate(self.commands) if words in line)


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return scripts/setup.py, loaded to work on a copy of the requirements."""
    root = tmp_path / "clone"
    (root / "requirements").mkdir(parents=True)
    (root / "db" / "migrations" / "versions").mkdir(parents=True)
    for name in REQUIREMENT_FILES:
        shutil.copy(ROOT / name, root / name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "scripts" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("VENV", "PYTHON", "STATE", "COMMON", "DEV", "OVERRIDES", "CPU_OVERRIDES"):
        monkeypatch.setattr(module, name, root / getattr(module, name).relative_to(ROOT))
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=100e9))
    return module


@pytest.fixture
def commands(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(setup.VENV)
    monkeypatch.setattr(setup, "run", recorder)
    monkeypatch.setattr(setup, "venv_works", lambda: setup.PYTHON.exists())
    monkeypatch.setattr(
        setup, "install_cpu_torch", lambda requirement: recorder([requirement, "first"], "")
    )
    return recorder


def make_store(home: Path, version: str) -> None:
    home.mkdir(exist_ok=True)
    connection = sqlite3.connect(home / "q2q.sqlite")
    connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
    connection.execute("DELETE FROM alembic_version")
    connection.execute("INSERT INTO alembic_version VALUES (?)", [version])
    connection.commit()
    connection.close()


def test_without_a_gpu_the_cpu_build_of_torch_comes_first(setup: ModuleType, commands: Recorder):
    setup.install_packages("cpu", dev=False)
    assert commands.position("torch==2.13.0+cpu first") < commands.position("requirements-cpu.txt")
    assert "overrides-cpu.txt" in commands.commands[commands.position("requirements-cpu.txt")]
    assert "--no-deps --editable" in commands.commands[-1]


def test_with_a_gpu_nothing_of_the_cpu_is_installed(setup: ModuleType, commands: Recorder):
    setup.install_packages("cuda", dev=False)
    assert commands.position("requirements.txt")
    assert not [line for line in commands.commands if "cpu" in line]


def test_a_second_run_installs_nothing(setup: ModuleType, commands: Recorder):
    setup.install_packages("cpu", dev=True)
    commands.commands.clear()
    setup.install_packages("cpu", dev=True)
    setup.install_packages("cpu", dev=False)
    assert commands.commands == []


def test_what_tests_need_is_added_to_what_is_there(setup: ModuleType, commands: Recorder):
    setup.install_packages("cpu", dev=False)
    commands.commands.clear()
    setup.install_packages("cpu", dev=True)
    assert commands.position("requirements-dev.txt") >= 0
    assert not [line for line in commands.commands if "-m venv" in line]


def test_a_changed_pin_installs_again_with_what_tests_need(setup: ModuleType, commands: Recorder):
    setup.install_packages("cpu", dev=True)
    commands.commands.clear()
    with setup.COMMON.open("a") as file:
        file.write("added==1.0\n")
    setup.install_packages("cpu", dev=False)
    assert commands.position("requirements-dev.txt") >= 0


def test_another_device_gets_a_fresh_environment(setup: ModuleType, commands: Recorder):
    setup.install_packages("cpu", dev=False)
    commands.commands.clear()
    setup.install_packages("cuda", dev=False)
    assert commands.position("-m venv --clear") == 0


@pytest.mark.parametrize("broken", [" uv==", "first", "--requirement", "--editable"])
def test_an_interrupted_set_up_goes_on(setup: ModuleType, commands: Recorder, broken: str):
    commands.broken = broken
    with pytest.raises(KeyboardInterrupt):
        setup.install_packages("cpu", dev=True)
    commands.broken = None
    commands.commands.clear()
    setup.install_packages("cpu", dev=False)
    assert commands.position("requirements-dev.txt") >= 0
    assert "--editable" in commands.commands[-1]


@pytest.mark.parametrize("left", [None, "exit 1"])
def test_an_environment_that_does_not_work_is_made_again(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, left: str | None
):
    recorder = Recorder(setup.VENV)
    monkeypatch.setattr(setup, "run", recorder)
    if left is not None:
        setup.PYTHON.parent.mkdir(parents=True)
        setup.PYTHON.write_text(f"#!/bin/sh\n{left}\n")
        setup.PYTHON.chmod(0o755)
    setup.make_venv(fresh=False)
    assert recorder.position("-m venv --clear") == 0


def test_model_and_store_are_made_once(
    setup: ModuleType,
    commands: Recorder,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("Q2Q_DEVICE", "cpu")
    monkeypatch.setenv("Q2Q_CACHE", str(tmp_path / "cache"))
    setup.set_up(dev=False)
    assert commands.position("serving.models.embedded") < commands.position("q2q setup")

    model = tmp_path / "cache" / "models" / "smollm2-135m-instruct"
    model.mkdir(parents=True)
    (model / "manifest.json").touch()
    make_store(home, "0001")
    setup.set_up(dev=False)
    commands.commands.clear()
    setup.set_up(dev=False)
    assert commands.commands == []


def test_the_store_is_looked_at_again_when_it_or_the_program_changes(setup: ModuleType, home: Path):
    assert setup.store_key() is None
    make_store(home, "0001")
    first = setup.store_key()
    assert first == setup.store_key()
    make_store(home, "0000")  # a backup was restored
    assert setup.store_key() != first
    make_store(home, "0001")
    (setup.ROOT / "db" / "migrations" / "versions" / "0002_more.py").touch()
    assert setup.store_key() != first


def test_a_wrong_device_is_one_sentence(setup: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("Q2Q_DEVICE", "tpu")
    with pytest.raises(setup.SetupError, match="'tpu'; set it to cpu, cuda or auto"):
        setup.set_up(dev=False)


def test_a_full_disk_is_noticed_before_anything_is_made(
    setup: ModuleType, commands: Recorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5e9))
    with pytest.raises(setup.SetupError, match=r"1\.5 GB free and the packages need 6 GB"):
        setup.install_packages("cpu", dev=False)
    assert commands.commands == []


def test_a_python_without_venv_names_the_package(
    setup: ModuleType, commands: Recorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(setup.SetupError, match=r"apt-get install python3\.\d+-venv"):
        setup.make_venv(fresh=True)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("Temporary failure in name resolution", "check network and proxy"),
        ("error: Failed to fetch: error sending request for url", "check network and proxy"),
        ("(from versions: none)", "check network and proxy"),
        ("No space left on device (os error 28)", "disk is full"),
        ("something else", "lines above say why"),
    ],
)
def test_a_failed_command_says_what_to_do(setup: ModuleType, printed: str, said: str):
    with pytest.raises(setup.SetupError, match=said):
        setup.run(["sh", "-c", f"echo '{printed}' >&2; exit 1"], "It failed.")


def test_long_lists_of_packages_are_not_shown(setup: ModuleType, capfd: pytest.CaptureFixture[str]):
    setup.run(["printf", "Installed 2 packages\n + one==1.0\n - two==2.0\n"], "It failed.")
    assert capfd.readouterr().err == "Installed 2 packages\n"


def test_a_python_that_is_too_old_is_refused_by_name(tmp_path: Path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "scripts" / "setup.sh"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"PYTHON={old} is not Python 3.11 or newer.")


@pytest.mark.parametrize("wanted", ["cpu", "cuda"])
def test_the_device_can_be_forced(wanted: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("Q2Q_DEVICE", wanted)
    assert resolve_device() == wanted


@pytest.mark.parametrize(("driver", "device"), [(True, "cuda"), (False, "cpu")])
def test_a_driver_decides_where_nothing_is_forced(
    driver: bool, device: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(device_module, "has_nvidia_driver", lambda: driver)
    assert resolve_device("auto") == resolve_device() == device


def test_make_lists_every_target():
    # The tests themselves run under make, which would then announce the folders it enters.
    command = ["make", "--no-print-directory"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    assert {line.split()[0] for line in listed.splitlines()} == set(phony[1].split())


def test_only_ci_installs_system_packages():
    scripts = [ROOT / "Makefile", *(ROOT / "scripts").glob("setup.*")]
    commands = [line for file in scripts for line in file.read_text().splitlines()]
    assert not [line for line in commands if re.match(r"\s*(sudo )?apt-get", line)]


def test_every_imported_package_is_pinned():
    pins = {
        name.lower().replace("_", "-")
        for file in ("requirements-cpu.txt", "requirements-dev.txt")
        for name in read_pins(ROOT / file)
    }
    providers = metadata.packages_distributions()
    for file, module in imports_of("db", "serving", "training", "workbench", "benchmarks"):
        if module not in sys.stdlib_module_names and not (ROOT / module).is_dir():
            names = {name.lower().replace("_", "-") for name in providers.get(module, ())}
            assert names & pins, f"{file} imports {module}, which no requirements file pins"


def test_nothing_beside_the_app_hides_an_installed_module():
    """Streamlit looks for every module in the folder of its script first."""
    beside = {path.stem for path in (ROOT / "workbench").iterdir() if path.suffix in ("", ".py")}
    assert not beside & sys.stdlib_module_names
    assert not beside & metadata.packages_distributions().keys()


def imports_of(*folders: str) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    yield from ((file, alias.name.partition(".")[0]) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield file, node.module.partition(".")[0]
