"""What the worker says is told in the language of the visit."""

import re
import ssl
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

from serving.engine.probe import _ONLY_CHAT
from serving.engine.server_log import _STAGES, LoadReader, explain_exit
from serving.engine.transport import Proxy, _broken, http_error
from serving.sweeps.run import Progress
from workbench.i18n import translate_message
from workbench.jobs.server_lane import describe

JAPANESE = re.compile("[ぁ-んァ-ン]")


def progress(**values: Any) -> Progress:
    given = {
        "done": 5, "failed": 0, "blocked": 0, "total": 9, "tokens_per_second": 0.0,
        "in_flight": 1, "eta_s": None, "message": "running",
    }  # fmt: skip
    return Progress(**(given | values))


@pytest.mark.parametrize("message", sorted({message for *_, message in _STAGES}))
def test_every_step_of_a_loading_model_is_told_in_japanese(message: str) -> None:
    said = translate_message(message.format(percent="40"), "ja")
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
            progress(failed=2, failure="The model server at x gave no answer in 5.0 s."),
            "生成中 · 失敗 2（x のモデルサーバーが 5.0 秒以内に応答しませんでした。）",
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
    said = translate_message(f"{explain_exit(1, path)} Restart 2 of 5 follows.", "ja")
    assert said.startswith("モデルサーバーが")
    assert said.endswith("再起動します（2 / 5 回目）。")
    assert not re.search(r"\b(the|its|Restart)\b", said)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("message", ["", "All is well, or so it seems.", "{not} a template"])
def test_a_sentence_that_nobody_translated_stays(message: str, language: Any) -> None:
    assert translate_message(message, language) == message


def sentences_of_servers() -> list[str]:
    """Return what the code itself says, made by the code itself."""
    where, url = "http://10.0.0.5:8000", "http://10.0.0.5:8000/v1/completions"
    body = b'{"error": {"message": "no, not that"}}'
    moved = {"Location": "https://other.org/v1/completions"}
    proxy = Proxy("http://proxy.lan:3128", "HTTPS_PROXY")
    refused = ConnectionRefusedError(111, "refused")
    key = ConnectionKey("10.0.0.5", 8000, True, True, None, None, None)
    return [
        *(str(http_error(where, url, status, {}, body)) for status in (400, 401, 429, 500)),
        str(http_error(where, url, 308, moved, b"")),
        str(http_error(where, url, 302, {"Location": "/login"}, b"")),
        str(_broken(where, ClientConnectorError(key, refused), None)),
        str(_broken(where, ClientProxyConnectionError(key, refused), proxy)),
        str(_broken(where, ServerDisconnectedError(), None)),
        str(_broken(where, ClientConnectorCertificateError(key, CERTIFICATE), None)),
        str(_broken(where, ClientConnectorSSLError(key, refused), None)),
        _ONLY_CHAT.format(where=where),
        f"{http_error(where, url, 400, {}, body)} So it cannot write completions.",
        f"{http_error(where, url, 500, {}, body)} Tried 4 times.",
    ]


CERTIFICATE = ssl.SSLCertVerificationError("certificate verify failed")


@pytest.mark.parametrize("sentence", sentences_of_servers())
def test_what_requests_run_into_is_told_in_japanese(sentence: str) -> None:
    said = translate_message(sentence, "ja")
    assert JAPANESE.search(said)
    assert "model server" not in said


@pytest.mark.parametrize(
    "note",
    [
        "vLLM cannot serve it beside its base: it uses DoRA. Merge it with `q2q merge x`, and use "
        "the merged model.",
        "vLLM cannot serve it beside its base: it holds whole weights of lm_head (modules_to_save)."
        " Merge it with `q2q merge x`, and use the merged model.",
        "vLLM refused it (no such module). Merge it with `q2q merge x`, or add it again with "
        "`q2q model add` to try once more.",
        "vllm 0.32.0 serves base. Left out: the adapter x (no such module).",
    ],
)
def test_why_an_adapter_is_left_out_is_told_in_japanese(note: str) -> None:
    told = translate_message(note, "ja")
    assert JAPANESE.search(told)
    assert "vLLM cannot" not in told
    assert "whole weights" not in told
