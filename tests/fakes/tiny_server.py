"""The least that passes for a model server, from the standard library alone: up in 0.1 s.

For tests of starting and ending processes: ``python -I -S tests/fakes/tiny_server.py PORT``, and
after the port what stands before its paths, if anything does.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PAGES = {
    "/health": {},
    "/version": {"version": "0.0.1-tiny"},
    "/v1/models": {"data": [{"id": "fake", "max_model_len": 4096}]},
}


class Handler(BaseHTTPRequestHandler):
    """Answers what the supervisor asks; every completion is the same."""

    def do_GET(self) -> None:
        prefix = "".join(sys.argv[2:])
        self._answer(_PAGES.get(self.path.removeprefix(prefix)) if prefix in self.path else None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choices = [{"text": "yes", "finish_reason": "length"} for _ in range(body.get("n", 1))]
        self._answer({"choices": choices, "system_fingerprint": "vllm-0.0.1-tiny"})

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def _answer(self, body: object) -> None:
        payload = json.dumps(body).encode()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
