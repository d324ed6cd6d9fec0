"""Requests that schemathesis makes from the OpenAPI document, sent to a service with real data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.running import Running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDLESS = "/v1/events"
"""A stream without an end: a client that reads all of it never returns."""
CHANGES = ("pause", "resume", "cancel", "extend", "retry")


@dataclass
class Fuzzer:
    """Sends requests of every operation, most of them about things that exist."""

    running: Running
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """What was wrong with answers: of each kind and operation the first."""

    def __post_init__(self) -> None:
        self._client = self.running.client
        self._schema = schemathesis.openapi.from_dict(self._client.app.openapi())
        self._supernet, self._dataset = self.running.supernet(), self.running.dataset()
        # One that nothing changes, and one that pauses, extensions and the like are tried on.
        self._search, self._changing = (
            self.running.search(supernet_id=self._supernet, dataset_id=self._dataset)
            for _ in range(2)
        )
        self.running.wait(self._search)
        self.running.wait(self._changing)

    @property
    def sent(self) -> int:
        """How many requests were answered."""
        return self.answers.total()

    def run(self, examples: int, *modes: GenerationMode) -> None:
        """Send about ``examples`` requests of each operation in each mode: valid, or not."""
        for result in self._schema.get_all_operations():
            operation = result.ok()
            if operation.path == ENDLESS:
                continue
            for mode in modes:
                self._fuzz(operation, mode, examples)

    def _fuzz(self, operation: Any, mode: GenerationMode, examples: int) -> None:
        @seed(0)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode), st.sampled_from([True] * 3 + [False]))
        def send(case: Any, is_real: bool) -> None:
            if is_real:
                self._make_real(case)
            self._send(case)

        if operation.body or operation.path_parameters or operation.query or operation.headers:
            try:
                send()
            except schemathesis.errors.SchemathesisError:
                assert mode is GenerationMode.NEGATIVE  # nothing about the operation can be wrong
        elif mode is GenerationMode.POSITIVE:
            self._send(operation.Case())

    def _make_real(self, case: Any) -> None:
        """Let the request be about what exists; deletions are of what is in use."""
        changes = case.path.endswith(CHANGES)
        real = {
            "search_id": self._changing if changes else self._search,
            "supernet_id": self._supernet,
            "dataset_id": self._dataset,
        }
        if case.method == "DELETE" and "search_id" in (case.path_parameters or {}):
            return
        for name in case.path_parameters or {}:
            if name in real:
                case.path_parameters[name] = real[name]
        if isinstance(case.body, dict) and "supernet_id" in case.body:
            case.body |= {name: real[name] for name in ("supernet_id", "dataset_id")}
            case.body.pop("verify_dataset_id", None)
            # Those take seconds for a proposal, of which the coordinator asks for many at once.
            strategy = case.body.get("strategy")
            if isinstance(strategy, dict) and strategy.get("name") in ("gp", "tpe"):
                case.body["strategy"] = {"name": "random"}
            if isinstance(case.body.get("parallel_evaluations"), int):
                case.body["parallel_evaluations"] = min(8, case.body["parallel_evaluations"])

    def _send(self, case: Any) -> None:
        try:
            prepared = requests.Request(
                **case.as_transport_kwargs(base_url="http://testserver")
            ).prepare()
        except (requests.exceptions.RequestException, UnicodeError):
            return  # what no client can send
        answer = self._client.request(
            prepared.method,
            prepared.url,
            headers=[
                (name.encode("latin-1", "replace"), _bytes(value))
                for name, value in prepared.headers.items()
            ],
            content=prepared.body,
        )
        self.answers[f"{case.method} {case.path}", answer.status_code] += 1
        self._judge(case, answer)
        self._tidy(case, answer)

    def _judge(self, case: Any, answer: Any) -> None:
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                place = f"{case.method} {case.path}"
                self.failures.setdefault((place, type(failure).__name__), str(failure))
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code

    def _tidy(self, case: Any, answer: Any) -> None:
        """Searches of a million evaluations need not run."""
        started = case.path.endswith(("extend", "retry", "resume"))
        created = case.path == "/v1/searches" and case.method == "POST"
        if answer.status_code in (200, 201) and (started or created):
            self._client.post(f"/v1/searches/{answer.json()['id']}/cancel")


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")
