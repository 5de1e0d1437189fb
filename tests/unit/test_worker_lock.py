"""Who runs here: locks with names, and telling a dead holder from a live one."""

import subprocess
import sys
from pathlib import Path

from workbench.jobs.lock import HomeLock, read_owner

HOLD = """
import sys
from pathlib import Path
from workbench.jobs.lock import HomeLock
lock = HomeLock(Path(sys.argv[1]), "worker", command="q2q sweep")
print(lock.try_acquire(), flush=True)
sys.stdin.read()
"""


def test_only_one_process_holds_the_lock_and_its_death_frees_it(tmp_path: Path) -> None:
    mine = HomeLock(tmp_path, "worker", command="q2q up")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "True"
        assert not mine.try_acquire()
        owner = read_owner(tmp_path, "worker")
        assert owner is not None
        assert (owner.pid, owner.command) == (other.pid, "q2q sweep")
        assert "q2q sweep" in str(owner)
        other.kill()
    assert read_owner(tmp_path, "worker") is None
    assert mine.try_acquire()
    mine.release()


def test_a_lock_names_its_page_and_forgets_its_holder_afterwards(tmp_path: Path) -> None:
    with HomeLock(tmp_path, "up", command="q2q up", url="http://127.0.0.1:8501") as lock:
        assert lock.try_acquire()
        assert lock.try_acquire()
        assert lock.is_held
        owner = read_owner(tmp_path, "up")
        assert owner is not None
        assert owner.url == "http://127.0.0.1:8501"
    assert read_owner(tmp_path, "up") is None
    lock.release()


def test_nobody_holds_the_lock_of_a_new_home(tmp_path: Path) -> None:
    assert read_owner(tmp_path / "new", "worker") is None
