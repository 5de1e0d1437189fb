"""The command line on a fake model server: what it prints, how it ends, that it can be resumed."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from db.database import Database
from db.settings import settings
from db.sweeps import set_state
from tests.fakes.server import FakeServer
from workbench.cli import main

QUESTIONS = [
    {"instruction": "Why is the sky blue?", "flag": "assistant", "language": "en"},
    {"instruction": "富士山の高さは？", "flag": "logician", "language": "ja", "tags": ["geo"]},
]
SPEC = """
name: first
questions: {file: questions.jsonl}
formats: [tagged@1]
models: [fake]
variants: 3
answers: 2
"""
N_CELLS = 2 * (3 + 3 * 2)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Q2Q = Callable[..., Ended]


@pytest.fixture
def q2q(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Q2Q:
    """Run a command in this process, through the edge that people meet."""

    def run(*arguments: object) -> Ended:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["q2q", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def spec(tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep over two questions on a fake server that the settings name."""
    servers = [{"name": "fake1", "url": fake_server.url}]
    monkeypatch.setenv("Q2Q_SERVERS", json.dumps(servers))
    lines = "\n".join(json.dumps(question, ensure_ascii=False) for question in QUESTIONS)
    (tmp_path / "questions.jsonl").write_text(lines, "utf-8")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, "utf-8")
    return path


def test_a_sweep_runs_on_an_empty_home_and_ends_with_one_json_object(q2q: Q2Q, spec: Path) -> None:
    ended = q2q("sweep", "run", spec, "--json")
    assert ended.code == 0, ended.err
    result = ended.json
    assert (result["cells"], result["done"], result["failed"]) == (N_CELLS, N_CELLS, 0)
    assert (result["variants"], result["answers"], result["blocked"]) == (6, 12, 0)
    assert result["completion_tokens"] > 0
    assert result["tokens_per_second"] > 0
    assert result["seconds"] > 0
    assert result["state"] == "done"
    assert "2 new questions" in ended.err


def test_the_same_command_again_says_that_nothing_is_missing(
    q2q: Q2Q, spec: Path, fake_server: FakeServer
) -> None:
    first = q2q("sweep", "run", spec, "--json").json
    n_requests = len([one for one in fake_server.requests if one.get("n", 1) > 2])
    again = q2q("sweep", "run", spec, "--json")
    assert again.json["sweep_id"] == first["sweep_id"]
    assert again.json["done"] == N_CELLS
    assert "Nothing is missing" in again.err
    assert len([one for one in fake_server.requests if one.get("n", 1) > 2]) == n_requests
    assert len(q2q("sweep", "list", "--json").json) == 1


def test_a_sweep_that_was_stopped_with_nothing_left_is_done_when_resumed(
    q2q: Q2Q, spec: Path, database: Database
) -> None:
    q2q("sweep", "run", spec, "--json")
    with database.write() as session:
        set_state(session, 1, "cancelled")
    assert q2q("sweep", "resume", "1", "--json").json["state"] == "done"
    assert q2q("sweep", "list", "--json").json[0]["state"] == "done"


def test_a_role_of_the_user_can_be_imported(q2q: Q2Q, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Why?", "flag": "teacher"}', "utf-8")
    refused = q2q("question", "import", rows, "--json")
    assert refused.code == 2
    assert "teacher" in refused.err
    home = settings().home_dir
    home.mkdir(exist_ok=True)
    (home / "formats.yaml").write_text(
        "roles:\n  - {name: teacher, version: 1, system: You are a patient teacher.}\n", "utf-8"
    )
    assert q2q("question", "import", rows, "--json").json["added"] == 1


def test_a_changed_spec_runs_only_what_it_adds(q2q: Q2Q, spec: Path) -> None:
    tokens = q2q("sweep", "run", spec, "--json").json["completion_tokens"]
    spec.write_text(SPEC.replace("variants: 3", "variants: 4"), "utf-8")
    more = q2q("sweep", "run", spec, "--json").json
    assert more["sweep_id"] == 2
    assert more["done"] == 2 * (4 + 4 * 2)
    assert more["completion_tokens"] > tokens
    listed = q2q("sweep", "list", "--json").json
    assert [row["sweep_id"] for row in listed] == [2, 1]
    assert set(listed[0]) >= {"sweep_id", "name", "state", "cells", "done", "failed"}


def test_failed_slots_are_counted_and_a_retry_cures_them(
    q2q: Q2Q, spec: Path, fake_server: FakeServer
) -> None:
    fake_server.context_length = 12
    ended = q2q("sweep", "run", spec, "--json")
    assert ended.code == 1
    assert ended.json["error"].startswith("No slot of sweep 1 was done")
    result = ended.json["result"]
    assert result["failed"] + result["blocked"] == N_CELLS
    fake_server.context_length = 4096
    retried = q2q("sweep", "retry", "1", "--json")
    assert retried.code == 0, retried.err
    assert (retried.json["done"], retried.json["failed"]) == (N_CELLS, 0)


def test_a_sweep_without_its_server_fails_with_a_sentence_and_can_be_resumed(
    q2q: Q2Q, spec: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    q2q("serve", "status", "--probe")
    monkeypatch.setattr("workbench.jobs.external.BACK_WITHIN_S", 0.0)
    port = fake_server.port
    fake_server.stop()
    ended = q2q("sweep", "run", spec, "--json")
    assert (ended.code, set(ended.json)) == (1, {"error"})
    assert "No model server offers fake now" in ended.err
    assert "q2q sweep resume 1" in ended.err
    assert "Traceback" not in ended.err
    fake_server.start(port)
    assert q2q("sweep", "resume", "1", "--json").json["done"] == N_CELLS


def test_a_plan_counts_without_running(q2q: Q2Q, spec: Path) -> None:
    ended = q2q("sweep", "plan", spec, "--json")
    assert (ended.json["cells"], ended.json["requests"]) == (N_CELLS, 8)
    assert ended.json["expected_tokens"] > 0
    assert q2q("sweep", "list", "--json").json == []
    assert "cells" in q2q("sweep", "plan", spec).out


def test_a_finished_sweep_can_be_read_shown_exported_and_traced(
    q2q: Q2Q, spec: Path, tmp_path: Path
) -> None:
    q2q("sweep", "run", spec)
    assert "first" in q2q("sweep", "show", "1").out
    assert q2q("sweep", "show", "s1", "--json").json["spec"]["variants"] == 3
    lines = q2q("sweep", "export", "1").out.splitlines()
    assert len(lines) == N_CELLS
    answer = json.loads(lines[-1])
    assert answer["kind"] == "answer"
    assert answer["reasoning"].startswith("You should")
    rows = list(csv.DictReader(io.StringIO(q2q("sweep", "export", "1", "--format", "csv").out)))
    assert [row["kind"] for row in rows].count("reasoning") == 6
    target = tmp_path / "texts.parquet"
    q2q("sweep", "export", "1", "--format", "parquet", "--to", target)
    assert pq.read_table(target).num_rows == N_CELLS
    refused = q2q("sweep", "export", "1", "--format", "parquet", "--to", target)
    assert refused.code == 2
    assert "give another" in refused.err
    assert "tagged@1" in q2q("lineage", "a1").out
    assert q2q("lineage", "v1", "--json").json["generation"]["model"]["name"] == "fake"


def test_the_probe_finds_what_a_server_offers(q2q: Q2Q, spec: Path) -> None:
    engines = q2q("serve", "status", "--probe", "--json").json
    assert [engine["name"] for engine in engines] == ["local", "fake1"]
    assert engines[1]["state"] == "ready"
    assert engines[1]["models"][0]["name"] == "fake"
    assert engines[1]["capabilities"]["token_ids"] is True
    assert "declared" in q2q("model", "list").out


def test_servers_are_added_and_removed_by_url(q2q: Q2Q, fake_server: FakeServer) -> None:
    added = q2q("serve", "add", "teacher", fake_server.url, "--json")
    assert [engine["name"] for engine in added.json] == ["local", "teacher"]
    assert q2q("serve", "add", "teacher", fake_server.url).code == 2
    assert q2q("serve", "add", "other", "10.0.0.5").code == 2
    assert q2q("serve", "add", "local", fake_server.url).code == 2
    left = q2q("serve", "remove", "teacher", "--json")
    assert [engine["name"] for engine in left.json] == ["local"]
    assert q2q("serve", "remove", "teacher").code == 2


def test_questions_go_in_once_and_come_out_as_they_went_in(
    q2q: Q2Q, spec: Path, tmp_path: Path
) -> None:
    file = tmp_path / "questions.jsonl"
    first = q2q("question", "import", file, "--json").json
    assert [first[key] for key in ("added", "updated", "skipped", "errors")] == [2, 0, 0, 0]
    assert q2q("question", "import", file, "--json").json["skipped"] == 2
    assert [row["language"] for row in q2q("question", "list", "--json").json] == ["ja", "en"]
    assert "富士山" in q2q("question", "list", "--tag", "geo").out
    assert "logician" in q2q("question", "show", "q2").out
    exported = tmp_path / "out.jsonl"
    q2q("question", "export", exported, "--language", "ja")
    assert json.loads(exported.read_text("utf-8"))["instruction"] == "富士山の高さは？"
    assert q2q("question", "import", exported, "--json").json["added"] == 0
    assert len(q2q("question", "export").out.splitlines()) == 2


def test_a_folder_is_imported_whole_or_not_at_all(q2q: Q2Q, tmp_path: Path) -> None:
    folder = tmp_path / "questions"
    folder.mkdir()
    assert "holds no file of questions" in q2q("question", "import", folder).err
    (folder / "a.jsonl").write_text('{"instruction": "One?"}\n', "utf-8")
    (folder / "b.jsonl").write_text("{broken\n", "utf-8")
    ended = q2q("question", "import", folder)
    assert ended.code == 2
    assert "b.jsonl" in ended.err
    assert q2q("question", "list", "--json").json == []


def test_the_exact_prompt_is_shown_with_its_ids(
    q2q: Q2Q, embedded_model: Path, spec: Path, tmp_path: Path
) -> None:
    q2q("question", "import", tmp_path / "questions.jsonl")
    shown = q2q("question", "show", "q1", "--rendered", "--format", "chat@1", "--json")
    assert "Why is the sky blue?" in shown.json["text"]
    assert len(shown.json["token_ids"]) > 20
    tagged = q2q("question", "show", "1", "--rendered", "--format", "tagged@1", "--mode", "vanilla")
    assert "<|instruction|>" in tagged.out
    assert "token ids" in tagged.err
    assert q2q("question", "show", "q1", "--rendered", "--mode", "supplied").code == 2
    assert q2q("question", "show", "q1", "--rendered", "--mode", "dance").code == 2
    assert q2q("question", "show", "q1", "--rendered", "--mode", "supplied", "--variant", "v9").code


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sweep", "show", "9"], "There is no sweep 9"),
        (["sweep", "show", "nine"], "no number of a sweep"),
        (["sweep", "export", "9"], "There is no sweep 9"),
        (["question", "show", "q9"], "There is no question q9"),
        (["question", "show", "v9"], "give the id of a question"),
        (["question", "import", "gone.csv"], "gone.csv"),
        (["lineage", "zebra"], "is no id"),
        (["model", "show", "nobody"], "There is no model 'nobody'"),
        (["model", "archive", "m9"], "There is no model m9"),
        (["sweep", "run", "gone.yaml"], "gone.yaml"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    q2q: Q2Q, arguments: list[str], sentence: str
) -> None:
    ended = q2q(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err
    assert "Traceback" not in ended.err


def test_wrong_settings_are_a_sentence(q2q: Q2Q, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Q2Q_DEVICE", "abacus")
    ended = q2q("sweep", "list")
    assert ended.code == 2
    assert ended.err.startswith("The settings are wrong: device")


def test_a_misspelt_setting_is_refused(q2q: Q2Q, home: Path) -> None:
    (home / "q2q.toml").write_text("app_prot = 8600\n", "utf-8")
    ended = q2q("sweep", "list")
    assert ended.code == 2
    assert "app_prot is not a setting, did you mean app_port" in ended.err


def test_a_broken_settings_file_is_a_sentence(q2q: Q2Q, home: Path) -> None:
    (home / "q2q.toml").write_text("device = ", "utf-8")
    ended = q2q("sweep", "list")
    assert ended.code == 2
    assert "is no TOML" in ended.err


def test_a_bug_leaves_its_trace_in_a_file(
    q2q: Q2Q, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("workbench.cli.sweep.list_sweeps", broken)
    ended = q2q("sweep", "list")
    assert ended.code == 1
    assert "This is a bug" in ended.err
    assert "Traceback" not in ended.err
    (trace,) = (home / "logs").glob("bug-*.txt")
    assert "ZeroDivisionError" in trace.read_text("utf-8")


def test_backup_and_restore_bring_the_store_back(q2q: Q2Q, spec: Path, tmp_path: Path) -> None:
    q2q("question", "import", tmp_path / "questions.jsonl")
    copy = q2q("backup", tmp_path / "copy.sqlite", "--json").json["path"]
    (tmp_path / "more.jsonl").write_text('{"instruction": "More?"}\n', "utf-8")
    q2q("question", "import", tmp_path / "more.jsonl")
    assert q2q("restore", copy).code == 0
    assert len(q2q("question", "list", "--json").json) == 2


def test_cancelling_what_does_not_run_says_so(q2q: Q2Q, spec: Path) -> None:
    q2q("sweep", "run", spec)
    assert q2q("sweep", "cancel", "1", "--json").json == {"sweep_id": 1, "cancelled": False}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("workbench.cli.main", "torch transformers sqlalchemy aiohttp rich"),
        (
            "workbench.cli.question, workbench.cli.sweep, workbench.cli.model, workbench.cli.serve",
            "torch transformers pandas scipy numpy pyarrow openpyxl httpx",
        ),
    ],
    ids=["help", "commands"],
)
def test_help_and_common_commands_are_quick_and_import_nothing_heavy(
    modules: str, heavy: str
) -> None:
    probe = f"import sys, {modules}; print(*sorted({{*{heavy.split()}}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == ""


def test_a_text_that_is_not_in_utf_8_is_one_sentence(q2q: Q2Q) -> None:
    half = b"caf\xe9".decode("utf-8", "surrogateescape")
    for words in (("model", "archive", half), ("question", "list", "--tag", half)):
        ended = q2q(*words)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "not in UTF-8" in ended.err


def test_columns_of_any_name_are_imported_where_their_meaning_is_said(
    q2q: Any, tmp_path: Path
) -> None:
    file = tmp_path / "fragen.csv"
    file.write_text("frage,antwort\nWas ist Tee?,ein Getränk\n", "utf-8")
    assert "no column can be the question" in q2q("question", "import", file).err
    refused = q2q("question", "import", file, "--column", "frage=unsinn")
    assert "--column frage=unsinn is none" in refused.err
    said = ("--column", "frage=question", "--column", "antwort=reference_answer")
    assert q2q("question", "import", file, *said, "--json").json["added"] == 1
    japanese = tmp_path / "shitsumon.csv"
    japanese.write_text("質問,参考解答,難易度\n日本一高い山は?,富士山,易\n", "utf-8")
    assert q2q("question", "import", japanese, "--json").json["added"] == 1
    (_, row) = (json.loads(line) for line in q2q("question", "export").out.splitlines())
    assert (row["instruction"], row["reference_answer"]) == ("日本一高い山は?", "富士山")
