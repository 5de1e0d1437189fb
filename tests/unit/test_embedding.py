"""An embedder of the settings takes the place of the wording; without it the guard goes on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from db.settings import Embedder, Settings
from workbench.dialogue.embedding import EmbedderUnavailable, EmbeddingServer, Guard

MEANINGS = {"How does sleep affect memory?": [1.0, 0.1], "Does dozing help us recall?": [2.0, 0.3]}
OTHER = [0.0, 1.0]


class Handler(BaseHTTPRequestHandler):
    """Answers as ``/v1/embeddings`` does, from a table; in reverse order, which is allowed."""

    asked: list[dict[str, Any]]
    cut = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body | {"authorization": self.headers["Authorization"]})
        rows = [
            {"index": i, "embedding": MEANINGS.get(text, OTHER)}
            for i, text in enumerate(body["input"])
        ]
        answer = json.dumps({"data": rows[::-1][: 1 if self.cut else None]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(*, cut: bool = False) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []
    handler = type("Own", (Handler,), {"asked": asked, "cut": cut})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def named(url: str, **given: Any) -> Embedder:
    return Embedder.model_validate({"url": url, "model": "e", **given})


def test_repeats_in_other_words_are_found_by_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E_KEY", "secret")
    with served() as (url, asked):
        given = named(url, api_key_env="E_KEY", catches_paraphrases=True)
        guard = Guard(Settings(embedder=given))
        texts = list(MEANINGS)
        (found,) = guard.assess([texts[1]], [texts[0], "Who?"], "What is it about?")
        again = guard.exhaustion([*texts, texts[0]])
    assert (found.nearest, found.is_repeat) == (0, True)
    assert again.n_distinct == 1
    assert guard.catches_paraphrases
    assert asked[0]["authorization"] == "Bearer secret"
    assert asked[0]["model"] == "e"
    assert len(asked) == 1, "each text is asked for once"


def test_without_a_server_the_wording_is_compared_and_the_reason_told() -> None:
    guard = Guard(Settings(embedder=named("http://127.0.0.1:9/v1", catches_paraphrases=True)))
    (found,) = guard.assess(["Who sleeps least"], ["Who sleeps least?"], "Sleep")
    assert found.is_repeat
    assert guard.problem
    assert "q2q.toml" in guard.problem
    assert not guard.catches_paraphrases


def test_an_answer_that_lacks_vectors_is_refused() -> None:
    with served(cut=True) as (url, _), pytest.raises(EmbedderUnavailable):
        EmbeddingServer(named(url))(["a", "b"])


def test_without_an_embedder_the_wording_is_compared() -> None:
    guard = Guard(Settings())
    assert not guard.catches_paraphrases
    assert guard.assess(["Who sleeps least"], ["Who sleeps least?"], "Sleep")[0].is_repeat
