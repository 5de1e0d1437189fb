"""Keys of servers: kept where only their owner reads them, found by address, and forgotten."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from db.database import Database
from db.engines import add_external, list_engines
from db.errors import UsageError
from db.server_keys import FILE, find_key, forget_key, keep_key
from db.settings import Settings
from db.store.backup import backup
from serving.engine.messages import Price
from tests.fakes.server import FakeServer
from tests.unit.test_cli import Q2Q, q2q, spec
from workbench.jobs.external import ExternalServers, endpoint_of

__all__ = ["q2q", "spec"]

URL, SECRET = "https://api.example.org/v1", "sk-hunter2-0123456789"


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)


class Keyring(ModuleType):
    """The package ``keyring`` with a keyring that can be locked."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.priority = 5.0
        self.is_locked = False
        self.errors = ModuleType("keyring.errors")
        self.errors.KeyringError = OSError  # type: ignore[attr-defined]

    def get_keyring(self) -> "Keyring":
        return self

    def _check(self) -> None:
        if self.is_locked:
            raise OSError("locked")

    def set_password(self, service: str, user: str, key: str) -> None:
        self._check()
        self.kept[service, user] = key

    def get_password(self, service: str, user: str) -> str | None:
        self._check()
        return self.kept.get((service, user))

    def delete_password(self, service: str, user: str) -> None:
        self._check()
        if self.kept.pop((service, user), None) is None:
            raise OSError("not found")


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    made = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", made)
    monkeypatch.setitem(sys.modules, "keyring.errors", made.errors)
    return made


def test_without_a_keyring_a_file_of_mode_0600_keeps_it(tmp_path: Path) -> None:
    assert keep_key(tmp_path, URL + "/", SECRET) == "file"
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert find_key(tmp_path, URL) == (SECRET, "file")
    assert find_key(tmp_path, "https://evil.example.org/v1") is None
    keep_key(tmp_path, URL, "sk-other")
    assert find_key(tmp_path, URL) == ("sk-other", "file")
    forget_key(tmp_path, URL)
    assert find_key(tmp_path, URL) is None
    assert list(tmp_path.iterdir()) == []


def test_the_systems_keyring_comes_first_and_a_locked_one_is_none(
    tmp_path: Path, keyring: Keyring
) -> None:
    assert keep_key(tmp_path, URL, SECRET) == "keyring"
    assert keyring.kept == {("q2q-workbench", URL): SECRET}
    assert find_key(tmp_path, URL) == (SECRET, "keyring")
    assert not (tmp_path / FILE).exists()
    keyring.is_locked = True
    assert find_key(tmp_path, URL) is None
    assert keep_key(tmp_path, URL, SECRET) == "file"
    keyring.is_locked = False
    assert keep_key(tmp_path, URL, SECRET) == "keyring"
    assert not (tmp_path / FILE).exists()
    forget_key(tmp_path, URL)
    assert keyring.kept == {}
    keyring.priority = 0  # that of its back end that fails
    assert keep_key(tmp_path, URL, SECRET) == "file"


def test_a_file_that_others_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    keep_key(tmp_path, URL, SECRET)
    (tmp_path / FILE).chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        find_key(tmp_path, URL)
    (tmp_path / FILE).chmod(0o600)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(UsageError, match="delete the file and give them again"):
        find_key(tmp_path, URL)


@pytest.mark.parametrize("wrong", ["", "two words", "schlüssel", "a\nb"])
def test_what_no_request_can_carry_is_no_key(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(UsageError, match="no key that can be sent"):
        keep_key(tmp_path, URL, wrong)


def test_a_key_is_asked_for_used_and_stands_in_no_store_backup_log_or_command(
    q2q: Q2Q,
    database: Database,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = FakeServer(api_key=SECRET, has_completions=False, models=("large-2", "small-2", "tts"))
    server.start()
    try:
        monkeypatch.setattr("typer.prompt", lambda *args, **options: SECRET)
        added = q2q(
            "serve", "add", "hosted", server.url, "--ask-key", "--offers", "large-2,small-2"
        )
        assert added.code == 0, added.err
        assert "kept in a file of this home" in added.err
        (engine,) = [one for one in q2q("serve", "status", "--json").json if one["url"]]
        assert [one["served_name"] for one in engine["models"]] == ["large-2", "small-2"]
        assert engine["capabilities"]["completions"] is False
        priced = q2q("serve", "price", "hosted", "small-2", "--input", "0.15", "--output", "0.6")
        assert priced.code == 0, priced.err
        unknown = q2q("serve", "price", "hosted", "tts", "--input", "1", "--output", "1")
        assert unknown.code == 2
        assert "offers no model 'tts' (it offers large-2, small-2)" in unknown.err
        (tmp_path / "questions.jsonl").write_text('{"question": "Why is the sky blue?"}')
        spec = tmp_path / "spec.yaml"
        spec.write_text(
            "{name: hosted, questions: {file: questions.jsonl}, models: [small-2], max_cost: 1,"
            " variants: 2, answers: 2}"
        )
        before = server.read_tokens, server.written_tokens
        ran = q2q("sweep", "run", spec, "--json")
        assert ran.code == 0, ran.err
        assert "roles go as system messages" in ran.err
        read, written = server.read_tokens - before[0], server.written_tokens - before[1]
        assert ran.json["spent_tokens"] == read + written
        cost = (0.15 * read + 0.6 * written) / 1e6
        assert ran.json["spent_cost"] == pytest.approx(cost, abs=1e-6)
        unpriced = spec.with_name("other.yaml")
        unpriced.write_text(spec.read_text().replace("small-2", "large-2"))
        refused = q2q("sweep", "plan", unpriced)
        assert refused.code == 2
        assert "the price of large-2 on the server hosted is not known" in refused.err
        backup(database, tmp_path / "copy.sqlite")
    finally:
        server.stop()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in written if SECRET.encode() in path.read_bytes()] == [FILE]
    assert SECRET not in caplog.text + added.out + added.err
    assert q2q("serve", "remove", "hosted").code == 0
    assert not (home / FILE).exists()


async def test_prices_and_keys_reach_the_models_that_sweeps_use(
    database: Database, home: Path
) -> None:
    server = FakeServer(api_key=SECRET, models=("large", "small"))
    server.start()
    settings = Settings(home=home)
    keep_key(home, server.url, SECRET)
    servers = ExternalServers(settings, database)
    try:
        with database.write() as session:
            offers = {"small": {"input": 1.0, "output": 4.0}}
            add_external(session, "hosted", server.url, offers=offers)
        await servers.probe(None)
        (found,) = servers.servers
        ((model,),) = [tuple(found.models.values())]
        assert (model.served_name, model.price) == ("small", Price(1.0, 4.0))
        with database.read() as session:
            (engine,) = [one for one in list_engines(session) if one.kind == "external"]
        assert endpoint_of(engine, settings).api_key == SECRET
        assert SECRET not in repr(endpoint_of(engine, settings))
    finally:
        await servers.close()
        server.stop()


async def test_a_hosted_server_is_asked_in_full_only_once_and_by_hand(
    database: Database, home: Path
) -> None:
    server = FakeServer(has_completions=False)
    server.start()
    try:
        with database.write() as session:
            add_external(session, "hosted", server.url)
        counts = []
        for afresh in (False, False, True):
            servers = ExternalServers(Settings(home=home), database)
            await servers.probe(None, afresh=afresh)
            counts.append(server.count)
            ((model,),) = [tuple(one.models.values()) for one in servers.servers]
            assert model.takes_messages
            assert model.capabilities.refused_fields == ("request_id", "stop_token_ids")
            await servers.close()
        assert counts[0] == counts[1] < counts[2]
        server.stop()
        servers = ExternalServers(Settings(home=home), database)
        await servers.probe(None, afresh=False)
        with database.read() as session:
            assert list_engines(session)[-1].state == "unhealthy"
    finally:
        server.stop()
