"""No request that can be made from the OpenAPI document is a fault of the server."""

from __future__ import annotations

import pytest
from schemathesis import GenerationMode

from tests.service.http.fuzzing import Fuzzer


def test_a_few_requests_of_every_operation(light_service):
    fuzzer = Fuzzer(light_service)
    fuzzer.run(2, GenerationMode.POSITIVE)
    assert_no_faults(fuzzer)


@pytest.mark.slow
def test_thousands_of_requests(service):
    fuzzer = Fuzzer(service)
    fuzzer.run(64, GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    print(fuzzer.sent, "requests:", sorted(fuzzer.answers.items()))
    assert fuzzer.sent >= 3000
    assert_deep(fuzzer)


def assert_deep(fuzzer: Fuzzer) -> None:
    """Some of the requests got past every check, also where they are about one thing."""
    answered = {operation for operation, status in fuzzer.answers if status in (200, 201, 202)}
    assert {
        "GET /v1/searches/{search_id}",
        "GET /v1/searches/{search_id}/evaluations",
        "GET /v1/searches/{search_id}/plots/{kind}",
        "GET /v1/supernets/{supernet_id}/space",
    } <= answered
    assert_no_faults(fuzzer)


def assert_no_faults(fuzzer: Fuzzer) -> None:
    """No answer was a fault of the server, or other than the OpenAPI document says."""
    assert not [each for each in fuzzer.answers if each[1] >= 500]
    assert not fuzzer.failures
