"""Whatever README and docs show can be typed: every command, spec, file and setting in them."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.database import Database
from db.settings import Settings
from serving.formats.library import load_definitions
from serving.importers.readers import read_rows
from serving.importers.reasonings import read_reasonings
from serving.sweeps.spec import parse_spec
from tests.command_tree import whole_tree
from workbench.cli import main
from workbench.dialogue.settings import parse_theme
from workbench.rating.axes import load_axes

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]
RUN_HERE = {
    "q2q dialogue new examples/themes/town_without_cars.yaml",
    "q2q doctor",
    "q2q serve plan",
    "q2q serve plan --gpus 2x24",
    "q2q serve plan unsloth/Phi-3-medium-4k-instruct --gpus 1x16:7.5 --json",
    "q2q rate insights",
    "q2q question import my_questions.csv",
    "q2q question list --search 日本",
    "q2q sweep plan examples/sweeps/first.yaml",
}
RUN_ELSEWHERE = {
    "q2q model compare-precision smollm2-135m-instruct --questions 20 --precisions bf16,fp8": (
        "integration/test_precision_vllm.py"
    ),
    "q2q dialogue next 1": "unit/test_cli_dialogue.py",
    "q2q dialogue next 1 --answer B --move rebut --question 2 --reason nobody doubted it yet": (
        "unit/test_cli_dialogue.py"
    ),
    "q2q dialogue show 1": "unit/test_cli_dialogue.py",
    "q2q dialogue export 1 --format html --to town.html": "unit/test_cli_dialogue.py",
    "q2q rate queue --name pilot --minutes 20": "unit/test_rating_exchange.py",
    "q2q rate queue --name pilot --minutes 20 --keep-flagged": "integration/test_first_sweep.py",
    "q2q rate queue --name talk --dialogue 1 --scope question": "unit/test_rating_sources.py",
    (
        "q2q rate queue --name team --scope answer --way single --overlap 2"
        " --raters Aki: 2, Ben, Chie"
    ): "unit/test_rating_team.py",
    "q2q rate show 1": "unit/test_rating_team.py",
    "q2q rate export --format csv --to ratings.csv": "unit/test_rating_exchange.py",
    "q2q rate import ratings.csv": "unit/test_rating_exchange.py",
    "q2q score run --sweep 1": "unit/test_cli_score.py",
    "q2q score show --sweep 1": "unit/test_cli_score.py",
    "q2q serve add teacher http://10.0.0.5:8000/v1": "unit/test_cli_servers.py",
    "q2q serve add hosted https://api.example.org/v1 --ask-key --offers large-2,small-2": (
        "unit/test_server_keys.py"
    ),
    "q2q serve price hosted small-2 --input 0.15 --output 0.6": "unit/test_server_keys.py",
    "q2q sweep resume 3 --max-cost 5": "unit/test_cli_servers.py",
    "q2q sweep run examples/sweeps/first.yaml": "integration/test_first_sweep.py",
    "q2q round run examples/rounds/first.yaml": "integration/test_round.py",
    "q2q question import examples/training": "integration/test_training_cli.py",
    "q2q dataset build examples/datasets/first_round.yaml": "integration/test_training_cli.py",
    "q2q train run examples/training_runs/first_round.yaml": "integration/test_training_cli.py",
    "q2q up": "unit/test_cli_up.py",
    "q2q worker run": "integration/test_workers.py",
    "q2q worker list": "contract/test_json_keys.py",
    "ray start --head --port 6379 --disable-usage-stats": "integration/test_ray_cluster.py",
    "ray start --address 10.0.0.1:6379": "integration/test_ray_cluster.py",
    "q2q serve start --ray 10.0.0.1:6379 --replicas 8": "integration/test_ray_cluster.py",
    "q2q serve stop": "integration/test_ray_cluster.py",
    ".venv/bin/uv pip install --python .venv/bin/python -r requirements-cluster.txt": (
        "unit/test_setup.py"
    ),
}
"""Command → the test that runs it."""


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yield the fenced blocks of a page that are in one of ``languages``."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    yield from (body for language, body in found if language in languages)


def commands(page: Path) -> Iterator[str]:
    """Yield the commands in the shell blocks of a page, without their comments."""
    for block in blocks(page, "sh", "bash", "console"):
        for line in block.splitlines():
            if words := shlex.split(line.removeprefix("$ "), comments=True):
                yield " ".join(words)


SHOWN = sorted({command for page in PAGES for command in commands(page)})
INLINE = sorted(
    {c for page in PAGES for c in re.findall(r"`(q2q [^`]+)`", page.read_text("utf-8"))}
)


def test_the_documents_show_commands_at_all() -> None:
    assert {"make up", "make test"} | RUN_HERE | {*RUN_ELSEWHERE} - {"q2q up"} <= set(SHOWN)


@pytest.mark.parametrize("command", [c for c in SHOWN if c.startswith("make")])
def test_a_target_that_is_shown_is_there(command: str) -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert command.split()[1] in {line.split()[0] for line in listed.stdout.splitlines()}


@pytest.mark.parametrize("command", [c for c in SHOWN if not c.startswith("make")])
def test_a_command_that_is_shown_is_run_by_a_test(command: str) -> None:
    if command in RUN_ELSEWHERE:
        test = (ROOT / "tests" / RUN_ELSEWHERE[command]).read_text("utf-8")
        assert command.removeprefix("q2q ").split()[-1].split("/")[-1] in test
    else:
        assert command in RUN_HERE, "add it to RUN_HERE, or name the test that runs it"


def test_commands_that_are_shown_run(
    database: Database,
    tmp_path: Path,
    embedded_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "my_questions.csv").write_text("instruction\n富士山の高さは？\n", "utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for command in ("q2q setup", *sorted(RUN_HERE)):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main.run()
        shown = capfd.readouterr()
        allowed = {0, 1} if command == "q2q doctor" else {0}
        assert int(ended.value.code or 0) in allowed, (command, shown.err)
        assert shown.out.strip() or command == "q2q setup", command


def _parsed(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = whole_tree()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        words = words[1:]
    return command, words


@pytest.mark.parametrize("command", INLINE)
def test_a_command_in_the_text_has_its_name_and_options(command: str) -> None:
    found, rest = _parsed(command.split()[1:])
    is_whole = not hasattr(found, "commands") or not rest or rest[0].startswith("-")
    assert is_whole, f"{command}: there is no {rest[0]!r}"
    known = {name for option in found.params for name in (*option.opts, *option.secondary_opts)}
    known |= {"--help", "--version"}
    assert {word.split("=")[0] for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_json_toml_and_python_of_a_page_are_taken(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(page, "yaml"):
        if "formats:\n" in block and "prompt:" in block:
            (tmp_path / "formats.yaml").write_text(block, "utf-8")
            load_definitions(tmp_path / "formats.yaml")
        elif "label:" in block:
            (tmp_path / "axes.yaml").write_text(block, "utf-8")
            assert load_axes(tmp_path)
        elif "concept:" in block:
            parse_theme(yaml.safe_load(block))
        else:
            parse_spec(yaml.safe_load(block))
    for block in blocks(page, "json"):
        lines = block.splitlines()
        if all(line.startswith("{") for line in lines):
            path = tmp_path / "rows.jsonl"
            path.write_text(block, "utf-8")
            rows = read_reasonings(path) if "question_id" in block else read_rows(path).rows
            assert len(rows) == len(lines)
        else:
            json.loads(block)
    for block in blocks(page, "toml"):
        monkeypatch.setenv("Q2Q_HOME", str(tmp_path))
        Settings(**tomllib.loads(block))
    for block in blocks(page, "python"):
        if "q2q.sqlite" not in block:  # that one is run by test_store_docs.py
            exec(compile(block, page.name, "exec"), {})
