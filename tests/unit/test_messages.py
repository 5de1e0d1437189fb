"""Messages keep their template and values wherever they go as text: errors, columns, JSON."""

import json
import pickle
from pathlib import Path

import pytest
from sqlalchemy import text

from db.database import Database
from db.errors import Q2QError, UsageError, existing
from db.jobs import claim, enqueue, finish, get_job
from db.messages import Message
from db.tables.base import MessageJson

WHY = Message("{n:,} of {name!r} failed", n=1200, name="it's")
LINE = Message.line(["running", WHY])


def test_an_error_is_known_by_its_template_and_values() -> None:
    error = UsageError("There is no file {path}; {why}.", path=Path("/tmp/x"), why=WHY)
    assert f"{error}" == 'There is no file /tmp/x; 1,200 of "it\'s" failed.'
    assert isinstance(str(error), Message)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(Q2QError("{as it is}")) == "{as it is}"
    assert UsageError(WHY).message is WHY
    with pytest.raises(UsageError, match=r"^There is no 'x'\.$"):
        existing(None, "There is no {name!r}.", name="x")


@pytest.mark.parametrize(
    "message", [WHY, LINE, Message("{error} Twice.", error=Q2QError("No {x}", x=WHY))]
)
def test_what_is_stored_is_read_back_whole(message: Message) -> None:
    stored = message.store()
    assert stored.startswith(message)
    read = Message.read(stored)
    assert isinstance(read, Message)
    assert (read, read.template) == (message, message.template)
    assert {k: str(v) for k, v in read.values.items()} == {
        k: str(v) for k, v in message.values.items()
    }
    assert read.store() == stored


@pytest.mark.parametrize(
    "plain", ["", "As older stores have it.", "a\x1fb", "a\x1f[1]", "a\x1f[1, 2]"]
)
def test_any_other_text_stays_as_it_is(plain: str) -> None:
    assert Message.read(plain) == plain
    assert Message(plain).store() == plain


def test_what_is_cut_from_a_message_is_plain_text() -> None:
    assert type(WHY[:4]) is str


def test_the_store_keeps_messages_and_shows_plain_text_to_sql(database: Database) -> None:
    with database.write() as session:
        job_id = enqueue(session, "probe", lane="server")
    with database.write() as session:
        claim(session, "me")
        finish(session, job_id, "me", "failed", error=str(Q2QError("Lost: {why}", why=WHY)))
    with database.read() as session:
        error = get_job(session, job_id).error
        raw = session.scalar(text("SELECT error FROM job"))
    assert isinstance(error, Message)
    assert (error.template, error.values["why"]) == ("Lost: {why}", WHY)
    assert raw is not None
    assert raw.startswith(error)


def test_json_keeps_messages_and_is_text_to_everybody_else() -> None:
    kind = MessageJson()
    stored = kind.process_bind_param({"problems": [WHY, "plain"], "n": 1}, None)
    read = kind.process_result_value(json.loads(json.dumps(stored)), None)
    assert read == {"problems": [WHY, "plain"], "n": 1}
    assert isinstance(read["problems"][0], Message)
    assert json.loads(json.dumps(read)) == {"problems": [str(WHY)[:], "plain"], "n": 1}
