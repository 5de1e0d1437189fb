"""What the worker says is told in the language of the visit."""

import ast
import builtins
import re
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp.client_exceptions import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientProxyConnectionError,
    ServerDisconnectedError,
)
from aiohttp.client_reqrep import ConnectionKey
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from db.errors import UsageError
from db.messages import Message
from serving.engine.client import _after
from serving.engine.http_errors import broken, http_error
from serving.engine.messages import EngineError, EngineUnavailable, RequestFailed
from serving.engine.probe import _ONLY_CHAT
from serving.engine.route import Proxy
from serving.engine.server_log import _STAGES, LoadReader, explain_exit
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.run import Progress
from workbench.i18n import messages, translate_message
from workbench.jobs.server_lane import describe

JAPANESE = re.compile("[ぁ-んァ-ン]")
ROOT = Path(__file__).parents[2]
NOT_SERVED = (
    "vLLM cannot serve it beside its base: {why}. Merge it with `q2q merge {name}`, and use the"
    " merged model."
)


def progress(**values: Any) -> Progress:
    given = {
        "done": 5, "failed": 0, "blocked": 0, "total": 9, "tokens_per_second": 0.0,
        "in_flight": 1, "eta_s": None, "message": "running",
    }  # fmt: skip
    return Progress(**(given | values))


@pytest.mark.parametrize("message", sorted({message for *_, message in _STAGES}))
def test_every_step_of_a_loading_model_is_told_in_japanese(message: str) -> None:
    said = translate_message(Message(message, percent="40"), "ja")
    assert JAPANESE.search(said)
    assert ("40" in said) == ("{" in message)


def test_a_model_that_begins_to_load_is_told_in_japanese() -> None:
    assert JAPANESE.search(translate_message(LoadReader().progress.message, "ja"))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (progress(), "生成中"),
        (
            progress(failed=1234, tokens_per_second=5678.0, eta_s=200.0),
            "生成中 · 失敗 1,234 · 毎秒 5,678 トークン · 残り 3 分",
        ),
        (
            progress(failed=2, failure="A content filter of the server ended it."),
            "生成中 · 失敗 2（サーバーのコンテンツフィルターが打ち切りました。）",
        ),
        (
            progress(message="waiting for the model", eta_s=30.0),
            "モデルを待っています · 残り 30 秒",
        ),
    ],
)
def test_the_progress_of_a_sweep_is_told_in_japanese(run: Progress, said: str) -> None:
    assert translate_message(describe(run), "ja") == said


def test_the_progress_of_a_sweep_reads_as_one_line_in_english() -> None:
    line = translate_message(describe(progress(tokens_per_second=210.0, eta_s=200.0)), "en")
    assert line == "running · 210 tokens/s · 3 min left"


@pytest.mark.parametrize(
    "log",
    [
        "OSError: [Errno 98] address already in use",
        "torch.OutOfMemoryError: CUDA out of memory",
        "ValueError: No available memory for the cache blocks",
        "RuntimeError: Cannot allocate memory",
        "ModuleNotFoundError: No module named 'vllm'",
        "RuntimeError: Failed to infer device type",
        "ValueError: Model architectures ['X'] are not supported for now",
        "SafetensorError: Error while deserializing header",
        "OSError: x does not appear to have a file named config.json",
        "ValueError: something new",
    ],
)
def test_why_a_server_ended_is_told_in_japanese_within_a_restart(log: str, tmp_path: Any) -> None:
    path = tmp_path / "server.log"
    path.write_text(log)
    restart = "{problem} Restart {n} of {most} follows."
    said = translate_message(Message(restart, problem=explain_exit(1, path), n=2, most=5), "ja")
    assert said.startswith("モデルサーバーが")
    assert said.endswith("再起動します（2 / 5 回目）。")
    assert not re.search(r"\b(the|its|Restart)\b", said)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("message", ["", "All is well, or so it seems.", "{not} a template"])
def test_a_sentence_that_nobody_translated_stays(message: str, language: Any) -> None:
    assert translate_message(message, language) == message


def errors_of_servers() -> list[EngineError]:
    """Return what the code itself says, made by the code itself."""
    where, url = "http://10.0.0.5:8000", "http://10.0.0.5:8000/v1/completions"
    body = b'{"error": {"message": "no, not that"}}'
    moved = {"Location": "https://other.org/v1/completions"}
    proxy = Proxy("http://proxy.lan:3128", "HTTPS_PROXY")
    refused = ConnectionRefusedError(111, "refused")
    key = ConnectionKey("10.0.0.5", 8000, True, True, None, None, None)
    return [
        *(http_error(where, url, status, {}, body) for status in (400, 401, 402, 429, 500)),
        http_error(where, url, 502, {}, b"", proxy),
        http_error(where, url, 308, moved, b""),
        http_error(where, url, 302, {"Location": "/login"}, b""),
        broken(where, ClientConnectorError(key, refused), None),
        broken(where, ClientConnectorError(key, refused), proxy),
        broken(where, ClientProxyConnectionError(key, refused), proxy),
        broken(where, ServerDisconnectedError(), None),
        broken(where, ClientConnectorCertificateError(key, CERTIFICATE), None),
        broken(where, ClientConnectorSSLError(key, refused), None),
        EngineUnavailable(_ONLY_CHAT),
        _after(4, RequestFailed("The model server's answer is no JSON object.")),
    ]


CERTIFICATE = ssl.SSLCertVerificationError("certificate verify failed")


@pytest.mark.parametrize("error", errors_of_servers(), ids=str)
def test_what_requests_run_into_is_told_in_japanese(error: EngineError) -> None:
    said = translate_message(error, "ja")
    assert JAPANESE.search(said)
    assert not re.search(r"\b(model server|the proxy|through|Tried)\b", said)
    assert translate_message(Message.read(error.message.store()), "ja") == said


@pytest.mark.parametrize(
    "note",
    [
        "it uses DoRA",
        Message("it holds whole weights of {modules} (modules_to_save)", modules="lm_head"),
    ],
)
def test_why_an_adapter_is_left_out_is_told_in_japanese(note: str) -> None:
    told = translate_message(Message(NOT_SERVED, why=note, name="x"), "ja")
    assert JAPANESE.search(told)
    assert "vLLM cannot" not in told
    assert not re.search("whole weights|uses", told)


def test_why_a_tokenizer_cannot_be_used_is_told_in_japanese(tmp_path: Path) -> None:
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UsageError) as refused:
        PromptTokenizer.load(tmp_path)
    said = translate_message(refused.value, "ja")
    assert "語彙の種類が WordLevel で" in said
    assert "使えるトークナイザーではありません" in said


def test_a_sentence_is_english_as_a_whole_where_a_part_has_no_translation() -> None:
    said = Message(NOT_SERVED, why=Message("it is {what}", what="odd"), name="x")
    assert translate_message(said, "ja") == said


def test_every_translated_template_is_said_by_the_code() -> None:
    said = {node.value for _, node in nodes() if isinstance(node, ast.Constant)}
    assert not messages().keys() - said


def test_errors_are_given_templates_and_values_and_no_finished_sentence() -> None:
    finished = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, node in nodes()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id.endswith(("Error", "Message", "existing"))
        and node.func.id not in {*vars(builtins), "RowRefusedError"}  # a part of a sentence
        and any(isinstance(one, ast.JoinedStr) for one in node.args)
    ]
    assert finished == []


@cache
def nodes() -> list[tuple[Path, ast.AST]]:
    return [
        (path, node)
        for package in ("db", "serving", "training", "workbench")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
