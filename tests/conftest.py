"""Fixtures and rules that all tests share: a home of their own, no network, no silent skips."""

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from db.database import Database, open_database
from db.settings import settings
from db.store.migrate import upgrade
from serving.models.embedded import ensure_embedded_model

pytest_plugins = [
    "tests.fakes.fixtures",
    "tests.engine_fixture",
    "tests.postgres_fixture",
    "tests.training_fixture",
]

CACHE = str(Path(os.environ.get("Q2Q_CACHE", "~/.cache/q2q")).expanduser().absolute())
"""The real one: the embedded model is made once, not once a test."""
IN_CI = os.environ.get("Q2Q_CI") == "1"
"""In CI a test is skipped for want of a GPU only; any other skip is a failure."""
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Nothing that a test starts calls home."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""Servers and trainings run side by side: threads of one that wait for each other, or two servers
bound to the same core, would starve.
"""

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the home and the settings of the person who runs the tests out of every fixture."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("Q2Q_")]:
            patch.delenv(name)
        patch.setenv("Q2Q_HOME", str(tmp_path_factory.mktemp("session-home")))
        patch.setenv("Q2Q_CACHE", CACHE)
        for name, value in (QUIET | ONE_THREAD).items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test its own empty ``Q2Q_HOME``, and return it; the folder is not made."""
    folder = tmp_path / "home"
    monkeypatch.setenv("Q2Q_HOME", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """Return the folder of SmolLM2-135M-Instruct, made on the first run on a machine."""
    return ensure_embedded_model(Path(CACHE))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store without rows, made once by the real migrations; copy it, leave it alone."""
    path = tmp_path_factory.mktemp("store") / "q2q.sqlite"
    database = open_database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture
def database(migrated_file: Path, home: Path) -> Iterator[Database]:
    """Yield a store of its own for each test: a real file in the test's ``Q2Q_HOME``."""
    home.mkdir(exist_ok=True)
    shutil.copy(migrated_file, home / "q2q.sqlite")
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    yield database
    database.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn the skip of a test into a failure."""
    report = yield
    expected_failure = hasattr(report, "wasxfail")
    if IN_CI and report.skipped and not expected_failure and not item.get_closest_marker("gpu"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, turn the skip of a whole module into a failure."""
    report = yield
    if IN_CI and report.skipped and not collector.get_closest_marker("gpu"):
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{reason}. In CI (Q2Q_CI=1) only a test marked gpu may be skipped."
