"""Two subnets of a search beside each other, on both databases."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from numpy.typing import NDArray

from elasticnas.api_schemas.messages import SubnetsVerified
from elasticnas.api_schemas.verification import Verified
from elasticnas.service.searches import evaluation_repository as evaluations
from tests.service.running import Running
from tests.service.stand_in import interval


def drawn(values: NDArray[np.float64]) -> dict[str, str]:
    """Resamples as a worker packs them."""
    return {"accuracy": base64.b64encode(values.astype("<f4").tobytes()).decode()}


def finished(running: Running, **fields: object) -> str:
    search = running.search(budget={"evaluations": 12}, **fields)
    running.wait(search)
    return f"/v1/searches/{search}"


def test_what_differs_is_there_and_what_is_the_same_is_not(service: Running):
    path = finished(service)
    a, b = (service.get(f"{path}/evaluations/{number}") for number in (0, 1))
    found = service.get(f"{path}/compare", a=0, b=1)
    differing = {name for name in a["subnet"] if a["subnet"][name] != b["subnet"][name]}
    assert {each["name"] for each in found["dimensions"]} == differing
    first = found["dimensions"][0]
    assert (first["a"], first["b"]) == (a["subnet"][first["name"]], b["subnet"][first["name"]])
    assert found["cost"]["params"]["difference"] == b["cost"]["params"] - a["cost"]["params"]
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["difference"] == b["metrics"]["accuracy"] - a["metrics"]["accuracy"]
    assert accuracy["low"] is accuracy["could_be_chance"] is found["measured_on"] is None
    assert "verify" in found["why_no_interval"]


def test_a_subnet_does_not_differ_from_itself(light_service: Running):
    path = finished(light_service)
    found = light_service.get(f"{path}/compare", a=2, b=2)
    assert found["dimensions"] == []
    assert {each["difference"] for each in found["cost"].values()} == {0}


def test_what_raced_is_compared_row_by_row(service: Running):
    path = finished(service, dataset_id=service.dataset(rows=500), racing={"confidence": 0.9})
    done = [e["number"] for e in service.get(f"{path}/evaluations", state="completed")["items"]]
    found = service.get(f"{path}/compare", a=done[0], b=done[1])
    assert found["measured_on"]["part"] == "search"
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["low"] <= accuracy["difference"] <= accuracy["high"]
    assert accuracy["could_be_chance"] == (accuracy["low"] <= 0 <= accuracy["high"])
    assert found["why_no_interval"] is None


def test_verified_subnets_are_compared_on_the_rows_that_verified_them(service: Running):
    path = finished(service, dataset_id=service.dataset(rows=60), verify=0.5)
    a, b = (e["number"] for e in service.get(f"{path}/front")["items"][:2])
    rng = np.random.default_rng(0)
    draws = {a: rng.normal(0.7, 0.01, 1000), b: rng.normal(0.9, 0.01, 1000)}
    with service.client.app.state.service.database.write() as session:
        for number, values in draws.items():
            row = evaluations.placed(session, path.rsplit("/", 1)[1], number)
            row.resamples = drawn(values)
    found = service.get(f"{path}/compare", a=a, b=b)
    verified = service.get(f"{path}/evaluations/{a}")["verified"]
    assert found["measured_on"] == {"rows": verified["rows"], "part": "verification"}
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["a"] == verified["metrics"]["accuracy"]["value"]
    assert 0.16 < accuracy["low"] < 0.19 < 0.21 < accuracy["high"] < 0.24
    assert accuracy["could_be_chance"] is False


def test_the_resamples_that_a_worker_sends_are_those_that_are_compared(light_service: Running):
    light_service.worker.lose_verifications = 1
    search = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.until(lambda: light_service.worker.verifications)
    [message] = light_service.worker.verifications
    numbers = tuple(item.number for item in message.subnets)
    values = [np.linspace(0, 0.4, 1000) * place for place in range(len(numbers))]
    found = [
        Verified(rows=10, metrics={"accuracy": interval(0.2 * place)}, versus_maximal={})
        for place in range(len(numbers))
    ]
    light_service.worker.send(
        SubnetsVerified(
            search_id=search,
            numbers=numbers,
            precision=message.conditions.precision,
            verified=tuple(found),
            resamples=tuple(drawn(each) for each in values),
        )
    )
    light_service.wait(search)
    a, b = numbers[:2]
    accuracy = light_service.get(f"/v1/searches/{search}/compare", a=a, b=b)["metrics"]["accuracy"]
    found_ends = (accuracy["low"], accuracy["difference"], accuracy["high"])
    assert found_ends == pytest.approx((0.01, 0.2, 0.39), abs=1e-6)


def test_only_what_was_measured_can_be_compared(light_service: Running):
    path = finished(light_service)
    answer = light_service.client.get(f"{path}/compare", params={"a": 0, "b": 999})
    assert answer.status_code == 404
    assert light_service.client.get(f"{path}/compare", params={"a": 0}).status_code == 422
