"""A fake OpenAI-compatible model server: real HTTP on 127.0.0.1, scripted behaviour, no model.

In a test, take the fixture (from ``tests.fakes.fixtures``)::

    async def test_a_stall_is_a_failure(fake_server: FakeServer) -> None:
        fake_server.script("stall", "ok")         # next two requests; then ``fake_server.default``
        ...fake_server.endpoint...                # an ``Endpoint`` for the client
        fake_server.requests[-1]["prompt"]        # bodies that came in, oldest first
        fake_server.peak                          # most requests in flight at one time

As a process of its own (killable, and with a core of its own in benchmarks)::

    python -m tests.fakes.server --port 0 --latency-ms 5 --faults stall:0.001,error_500:0.01

It prints ``listening on PORT``. Behaviours (``Behaviour``):

``ok`` deterministic text · ``slow`` the same after ``slow_s`` · ``stall`` no answer, ever ·
``lost`` neither an answer nor a sign of it in the load that the server tells ·
``drop`` half a body, then the connection closes · ``reset`` closes before any byte ·
``error_500`` · ``busy_429`` with ``Retry-After: retry_after`` · ``garbage`` no JSON ·
``not_an_object`` JSON, but a list · ``no_choices`` · ``few_choices`` one less than asked for ·
``bad_choice`` one choice without text · ``aborted`` a choice with finish_reason ``abort`` ·
``filtered`` one with ``content_filter`` · ``tool_calls`` one with that · ``no_finish`` one without
any · ``no_usage`` tells no counts · ``surrogate`` one text ends in half a surrogate pair ·
``nan`` a ``NaN`` in the answer · ``thinks`` the last choice has its reasoning beside it ·
``refused_400`` · ``redirect`` 308 to ``location`` ·
``too_long`` 400 as for a prompt past the context length

``ok`` text depends on prompt, choice index and seed only; each word counts as one token; it ends
with ``stop`` unless ``max_tokens`` cuts it (``length``). As with vLLM, a prompt that fills
``context_length`` gets a 400, and completions are cut short, silently, to what is left of it.

Other makes: ``refuses`` (fields answered with 400), ``reads_at_most`` (tokens of a prompt that it
reads; the rest is dropped silently), ``has_completions`` (False: ``/v1/chat/completions`` alone,
the first sentence of each text under ``reasoning_field``, or in tags where that is ``think``),
``limit`` (requests in so many seconds), ``credit`` (paid tokens; then ``out_of_credit`` is the
status), ``tls`` (serves HTTPS).
"""

import argparse
import asyncio
import random
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args

import orjson
from aiohttp import web

from serving.engine.messages import Endpoint
from tests.fakes.behaviours import (
    Account,
    Behaviour,
    as_chat,
    break_off,
    error,
    fake_log_prob,
    fake_text,
    n_tokens,
    prompt_of_chat,
    prompts_of,
    spoil,
    told_log_probs,
    written,
)

__all__ = ["Behaviour", "FakeServer", "fake_log_prob", "fake_text"]

VERSION = "0.0.1-fake"


class FakeServer:
    """The server and its script. ``start``/``stop`` run it in a thread of this process."""

    def __init__(
        self,
        *,
        models: tuple[str, ...] = ("fake",),
        api_key: str | None = None,
        context_length: int = 4096,
        latency_s: float = 0.0,
        faults: Mapping[Behaviour, float] | None = None,
        text: Callable[[str, int, int | None], str] = fake_text,
        log_prob: Callable[[Any, int], float] = fake_log_prob,
        keep_requests: int = 10_000,
        refuses: Collection[str] = (),
        reads_at_most: int | None = None,
        has_completions: bool = True,
        reasoning_field: str | None = None,
        limit: tuple[int, float] = (0, 0.0),
        credit: int | None = None,
        out_of_credit: int = 402,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.refuses = frozenset(refuses)
        self.reads_at_most = reads_at_most
        self.has_completions = has_completions
        self.reasoning_field, self.drops_system = reasoning_field, False
        self.account = Account(limit[0] or None, limit[1], credit, out_of_credit)
        self.tls = tls
        self.location = ""
        self.models = models
        self.api_key = api_key
        self.context_length = context_length
        self.latency_s = latency_s
        self.slow_s = 0.3
        self.retry_after = "0.05"
        self.healthy = True
        self.default: Behaviour = "ok"
        self.faults = dict(faults or {})
        """Behaviour → share of the requests that it befalls at random."""
        self.text = text
        self.log_prob = log_prob
        """Of the token at a place of a prompt; its natural logarithm."""
        self.requests: deque[dict[str, Any]] = deque(maxlen=keep_requests)
        self.count = 0
        self.in_flight = 0
        self.lost = 0
        """Requests that it forgot."""
        self.peak = 0
        self.cancelled = 0
        """Requests that the client gave up."""
        self.port = 0
        self.n_engines = 1
        """Engines behind the URL, which its metrics have apart."""
        self.read_tokens = self.written_tokens = 0
        self._script: deque[Behaviour] = deque()
        self._drawn = random.Random(7)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v1"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(url=self.url, api_key=self.api_key, software=f"vllm {VERSION}")

    def script(self, *behaviours: Behaviour) -> None:
        """Queue behaviours for the requests to come."""
        self._script.extend(behaviours)

    def start(self, port: int = 0) -> None:
        """Serve from a thread of this process; ``port`` is set on return."""
        started = threading.Event()

        def serve() -> None:
            loop = asyncio.new_event_loop()
            self._loop = loop
            loop.run_until_complete(self.open(port))
            started.set()
            loop.run_forever()
            loop.run_until_complete(self.close())
            loop.close()

        self._thread = threading.Thread(target=serve, name="fake-server", daemon=True)
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the fake server did not start")

    def stop(self) -> None:
        """End the thread and all connections."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop = self._thread = None

    async def open(self, port: int = 0) -> None:
        """Serve in the running event loop."""
        app = web.Application(client_max_size=2**30)
        if self.has_completions:
            app.router.add_post("/v1/completions", self._completions)
        else:
            app.router.add_post("/v1/chat/completions", self._completions)
        app.router.add_get("/v1/models", self._models)
        if self.has_completions:
            app.router.add_get("/health", self._health)
            app.router.add_get("/version", self._version)
            app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=4096, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Close the server opened by ``open``."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        if self._unauthorised(request):
            return error(401, "Unauthorized")
        body: dict[str, Any] = orjson.loads(await request.read())
        self.requests.append(body)
        self.count += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            if (refusal := self.account.refuses()) is not None:
                return refusal
            if (behaviour := self._next_behaviour()) == "lost":
                await self._forget()
            return await self._behave(behaviour, request, body)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    def _next_behaviour(self) -> Behaviour:
        if self._script:
            return self._script.popleft()
        if self.faults:
            point = self._drawn.random()
            for behaviour, share in self.faults.items():
                if point < share:
                    return behaviour
                point -= share
        return self.default

    async def _forget(self) -> None:
        self.lost += 1
        self.in_flight -= 1
        try:
            await asyncio.Event().wait()
        finally:
            self.in_flight += 1

    async def _behave(
        self, behaviour: Behaviour, request: web.Request, body: dict[str, Any]
    ) -> web.StreamResponse:
        if behaviour == "stall":
            await asyncio.Event().wait()
        if behaviour == "slow":
            await asyncio.sleep(self.slow_s)
        if behaviour in ("drop", "reset"):
            return await break_off(request, with_body=behaviour == "drop")
        if (failure := self._failure(behaviour, body)) is not None:
            return failure
        if body.get("model") not in self.models:
            return error(404, f"The model `{body.get('model')}` does not exist.")
        if (messages := body.get("messages")) is not None:
            body["max_tokens"] = body.get("max_tokens", body.get("max_completion_tokens"))
            prompts = prompts_of(prompt_of_chat(messages, drops_system=self.drops_system))
        else:
            prompts = prompts_of(body["prompt"])
        longest = max(map(n_tokens, prompts))
        if behaviour == "too_long" or longest >= self.context_length:
            return error(
                400,
                f"This model's maximum context length is {self.context_length} tokens. "
                f"However, the prompt has {longest}.",
            )
        answer = self._answer(body, prompts)
        spoil(behaviour, answer["choices"])
        if messages is not None:
            as_chat(answer, self.reasoning_field)
        if behaviour == "no_usage":
            del answer["usage"]
        return web.Response(body=written(behaviour, answer), content_type="application/json")

    def _failure(self, behaviour: Behaviour, body: dict[str, Any]) -> web.Response | None:
        """Return what takes the place of an answer; None where there is to be one."""
        if behaviour == "error_500":
            return error(500, "EngineCore encountered an issue")
        if behaviour == "busy_429":
            response = error(429, "too many requests")
            response.headers["Retry-After"] = self.retry_after
            return response
        if behaviour == "garbage":
            return web.Response(body=b"<html>bad gateway</html>", content_type="text/html")
        if behaviour == "not_an_object":
            return web.Response(body=b"[1, 2]", content_type="application/json")
        if behaviour == "redirect":
            return web.Response(status=308, headers={"Location": self.location})
        if behaviour == "refused_400":
            return error(400, "this request is not to my liking")
        if refused := sorted(self.refuses & body.keys()):
            return error(400, f"Unrecognized request argument supplied: {refused[0]}")
        return None

    def _answer(self, body: dict[str, Any], prompts: list[list[int] | str]) -> dict[str, Any]:
        n = int(body.get("n") or 1)
        limit = int(body.get("max_tokens") or 16)
        seed = body.get("seed")
        choices: list[dict[str, Any]] = []
        total = 0
        copies: Counter[str] = Counter()
        """Of a prompt that stands in the list again: drawn anew, but for a seed."""
        for prompt in prompts:
            first = copies[str(prompt)] if seed is None else 0
            copies[str(prompt)] += n
            for choice_index in range(first, first + n):
                words = self.text(str(prompt), choice_index, seed).split(" ")
                used = words[: min(limit, self.context_length - n_tokens(prompt))]
                total += len(used)
                choice: dict[str, Any] = {
                    "index": len(choices),
                    "text": " ".join(used),
                    "finish_reason": "length" if len(words) > len(used) else "stop",
                    "stop_reason": None,
                }
                if body.get("return_token_ids"):
                    choice["token_ids"] = list(range(len(used)))
                    choice["prompt_token_ids"] = list(range(self._n_read(prompt)))
                if body.get("prompt_logprobs") is not None:
                    choice["prompt_logprobs"] = told_log_probs(prompt, self.log_prob)
                choices.append(choice)
        self.written_tokens += total
        prompt_tokens = sum(map(self._n_read, prompts))
        self.read_tokens += prompt_tokens
        if self.account.tokens_left is not None:
            self.account.tokens_left -= total + prompt_tokens
        return {
            "id": f"cmpl-{body.get('request_id', self.count)}",
            "object": "text_completion",
            "model": body["model"],
            "choices": choices,
            "system_fingerprint": f"vllm-{VERSION}" if self.has_completions else "fp_44709d6fcb",
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": total,
                "total_tokens": prompt_tokens + total,
            },
        }

    def _n_read(self, prompt: list[int] | str) -> int:
        return min(n_tokens(prompt), self.reads_at_most or self.context_length)

    async def _models(self, request: web.Request) -> web.Response:
        if self._unauthorised(request):
            return error(401, "Unauthorized")
        data = [{"id": name, "max_model_len": self.context_length} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def _metrics(self, request: web.Request) -> web.Response:
        lines = []
        for engine in range(self.n_engines):
            label = f'{{engine="{engine}",model_name="{self.models[0]}"}}'
            running = (self.in_flight + engine) // self.n_engines
            written = self.written_tokens // self.n_engines
            lines += [
                f"vllm:num_requests_running{label} {float(running)}",
                f"vllm:num_requests_waiting{label} 0.0",
                f"vllm:kv_cache_usage_perc{label} 0.25",
                f"vllm:generation_tokens_total{label} {float(written)}",
            ]
        return web.Response(text="\n".join(lines) + "\n")

    def _unauthorised(self, request: web.Request) -> bool:
        wanted = f"Bearer {self.api_key}"
        return self.api_key is not None and request.headers.get("Authorization") != wanted


def main(argv: list[str] | None = None) -> None:
    """Serve until ended by a signal."""
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible model server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", action="append", help="served name; default: fake")
    parser.add_argument("--api-key")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--default", choices=get_args(Behaviour), default="ok")
    parser.add_argument("--faults", default="", help="BEHAVIOUR:SHARE,… befalling at random")
    options = parser.parse_args(argv)
    faults = dict(item.split(":") for item in options.faults.split(",") if item)
    server = FakeServer(
        models=tuple(options.model or ("fake",)),
        api_key=options.api_key,
        latency_s=options.latency_ms / 1000,
        faults={name: float(share) for name, share in faults.items()},
        keep_requests=0,
    )
    server.default = options.default

    async def serve() -> None:
        await server.open(options.port)
        print(f"listening on {server.port}", flush=True)  # noqa: T201 - how the caller learns it
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
