"""What ``--json`` prints: the keys of every command, nested, with the types of their values.

After a change that is meant:

    WRITE_SNAPSHOTS=1 python -m pytest tests/contract/test_json_keys.py
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.settings import settings
from tests.contract.seeded_home import folder as folder
from tests.contract.seeded_home import q2q
from tests.contract.snapshots import check_snapshot, shape
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import asking
from tests.unit.test_cli_json import WALKED

COMMANDS = """
doctor
backup {}/copy.sqlite
report first {}/round.html
lineage q1
lineage v1
lineage a1
lineage g1
lineage m4
model list
model show tiny-merged
model show fake
serve status
serve plan phi-3-medium-4k-instruct --gpus 1x24
serve add other http://127.0.0.1:9/v1
serve remove other
serve stop
worker list
question import {}/questions.jsonl
question list
question show q1
question show q1 --rendered --format tagged@1 --model fake
question check --by number
question export
question export {}/out.jsonl
sweep plan {}/sweep.yaml
sweep run {}/sweep.yaml
sweep resume 3
sweep retry 3
sweep cancel 3
sweep list
sweep show 3
sweep export 3
sweep export 3 --format csv --to {}/sweep.csv
rate queue
rate queue --name more
rate show 1
rate export
rate export --format csv --to {}/ratings.csv
rate import {}/ratings.csv
rate insights
score run --sweep 3
score cancel {job}
score show --sweep 3
dialogue new {}/theme.yaml --as Ada
dialogue next 3
dialogue next 3 --answer B --move rebut --question 2 --as Ada --reason doubt
dialogue next 3 --answer A
dialogue show
dialogue show 1
dialogue show 3
dialogue show 3 --node 1
dialogue export 1 --format json
dialogue export 1 --format md
dialogue export 1 --format html --to {}/talk.html
dialogue import {}/sheet.jsonl
dialogue compare 1 3
dialogue fork 3 --node 1 --set variants=2
dialogue synopsis 1
dialogue replay 3 --model talker
dialogue park 3 --question 2
dialogue reject 3 --question 3
dialogue merge 3 --question 4 --same 1
dialogue go 3 --node 1
dialogue note 3 a-note --node 1
dialogue tag 3 water --node 1
dialogue translate 3 --to ja
dialogue argue 3
dialogue judge 3
dialogue pause 3
dialogue resume 3
dialogue close 3
dataset build {}/sft.yaml --preview
dataset build {}/sft.yaml
dataset show
dataset show sft
dataset export sft {}/rows.json --format alpaca
dataset import {}/labels.jsonl
train list
train show 1
train compare 1
train cancel 1
round list
round show first
round judge first
round decide first keep --reason better
round approve first
model prune tiny-merged
model archive tiny-merged
question archive 1-2
question restore 1
rater list
restore {}/copy.sqlite
""".strip().splitlines()
"""In this order, on one home; ``{}`` is a folder of files, ``{job}`` the newest job."""
OF_NOW = ("doctor", "serve status", "serve add", "serve remove", "serve stop")
"""What these find differs with machine and moment: only the keys of their rows are compared."""
NOT_RUN = {
    "merge": "needs weights",
    "model add": "needs weights",
    "model compare-precision": "starts vLLM",
    "model verify": "needs weights",
    "round reject": "waits for a dataset; tests/unit/test_rounds.py",
    "round run": "trains",
    "score judge": "needs a model that tells probabilities of prompts; tests/unit/test_judge.py",
    "serve price": "tests/unit/test_server_keys.py",
    "serve start": "starts vLLM",
    "train plan": "needs weights; tests/unit/test_training_estimate.py",
    "train resume": "trains",
    "train run": "trains",
    **{
        f"{noun} {change}": "is that of questions; tests/unit/test_archive.py"
        for noun in ("sweep", "rate", "rater", "dialogue", "dataset", "train", "model")
        for change in ("archive", "restore")
        if (noun, change) != ("model", "archive")
    },
    "question take": "answers as question archive; tests/unit/test_archive.py",
}


@contextlib.contextmanager
def serving(name: str) -> Iterator[str]:
    """Serve a model by this name from a fake server; yield its URL."""
    server = FakeServer()
    server.models, server.text = (name,), asking
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def servers(folder: Path, embedded_model: Path) -> Iterator[None]:
    """One server that takes ids and tells probabilities, one that takes texts."""
    with serving("fake") as teacher, serving("talker") as talker:
        q2q("serve", "add", "teacher", teacher, "--tokenizer", str(embedded_model))
        q2q("serve", "add", "talker", talker)
        yield


def words_of(command: str, folder: Path) -> list[str]:
    if "{job}" in command:
        with contextlib.closing(sqlite3.connect(settings().home_dir / "q2q.sqlite")) as store:
            (job_id,) = store.execute("SELECT max(id) FROM job").fetchone()
        command = command.replace("{job}", str(job_id))
    return [word.replace("{}", str(folder)) for word in command.split()]


def keys(rows: list[dict[str, Any]]) -> list[str]:
    """Return the keys of rows, and those of the objects in them."""
    objects = [(key, one) for row in rows for key, one in row.items() if isinstance(one, dict)]
    inner = {f"{key}.{name}" for key, one in objects for name in one}
    return sorted({key for row in rows for key in row} | inner)


BY_NAME = {"servers", "answers"}
"""What is found under the names of servers, or the letters of answers: which ones is chance."""


@pytest.mark.usefixtures("servers")
def test_keys_and_types_of_every_command_are_those_of_the_snapshot(folder: Path) -> None:
    found = {}
    for command in COMMANDS:
        value = json.loads(q2q(*words_of(command, folder), "--json"))
        for name in BY_NAME & value.keys() if isinstance(value, dict) else ():
            value[name] = {} if isinstance(value[name], dict) else value[name]
        if command == "rate insights":
            value["length"] = value["length"][:1]  # how much longer texts are that meet is chance
        found[command] = keys(value) if command.startswith(OF_NOW) else shape(value)
    check_snapshot("json_keys", found)


def test_every_command_with_json_is_run_here_or_says_why_not() -> None:
    run = {words for words in WALKED if any(c.startswith(" ".join(words)) for c in COMMANDS)}
    assert {" ".join(words) for words in set(WALKED) - run} == set(NOT_RUN)
