"""A server that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """One answer. With ``status`` None the connection is closed without any."""

    status: int | None = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class StubServer:
    """Serves in a thread; ``answer`` makes the answer of a request."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                length = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                stub.requests.append(request)
                answer = stub.answer(request)
                if answer.status is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)
                self.wfile.flush()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> StubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def search_read(**changes: Any) -> dict[str, Any]:
    """A search as REST shows it."""
    return {
        "id": "search-1",
        "name": "a",
        "state": "completed",
        "supernet_id": "supernet-1",
        "dataset_id": "dataset-1",
        "max_length": 16,
        "seed": 0,
        "objectives": ["accuracy", "gflops"],
        "constraints": [],
        "strategy": {"name": "random"},
        "budget": {"evaluations": 3, "seconds": None},
        "parallel_evaluations": 8,
        "weight": 1.0,
        "verify": None,
        "verify_dataset_id": None,
        "racing": None,
        "plateau": None,
        "max_failures": None,
        "progress": {
            **dict.fromkeys(("completed", "given_up", "failed", "running", "cached"), 0),
            **{"budget_evaluations": 3, "fraction": 0.0, "elapsed_seconds": 0.0},
            **{"evaluations_per_second": None, "eta_seconds": None},
        },
        "hypervolume": 0.5,
        "reference_point": {"accuracy": 0.0, "gflops": 1.0},
        "front_size": 0,
        "best": None,
        "stop_reason": None,
        "error": None,
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": None,
        "finished_at": None,
        **changes,
    }


def job_read(**changes: Any) -> dict[str, Any]:
    """A training of one step as REST shows it."""
    return {
        "id": "job-1",
        "kind": "training",
        "name": "a",
        "recipe": "lonas",
        "settings": {},
        "dataset_id": "dataset-1",
        "state": "running",
        "steps": [
            {
                **{"name": "train", "state": "running", "worker": "w", "attempt": 1},
                "progress": {"done": 3, "total": 9, "scalars": {"loss": 0.25}},
                **dict.fromkeys(("saved_at", "started_at", "finished_at")),
            }
        ],
        "waiting_for": None,
        "supernet_id": None,
        "problem": None,
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": None,
        "finished_at": None,
        **changes,
    }
