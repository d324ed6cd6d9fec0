"""Searches under constraints, and what their front is measured against."""

from __future__ import annotations

import io
import json
import zipfile

import httpx2
import numpy as np
import pytest
from sqlalchemy import update

from elasticnas.search.pareto import hypervolume
from elasticnas.service.database import Database
from elasticnas.service.searches import active
from elasticnas.service.searches.tables import SearchRow
from tests.service.exports.test_endpoints import built
from tests.service.running import Running, running_service


def bound_of(running: Running, supernet_id: str, share: float) -> float:
    return share * running.get(f"/v1/supernets/{supernet_id}")["cost"]["maximal"]["gflops"]


def recomputed(front: dict) -> float:
    """The share of the box between the reference point and metrics 1, costs 0."""
    reference = front["reference_point"]["gflops"]
    losses = [
        [1 - item["metrics"]["accuracy"], item["cost"]["gflops"] / reference]
        for item in front["items"]
    ]
    return hypervolume(np.array(losses), np.ones(2))


def test_the_front_is_measured_against_the_dearest_feasible_subnet(service):
    supernet = service.supernet()
    bound = bound_of(service, supernet, 0.6)
    limits = [{"cost": "gflops", "max": bound}]
    search = service.wait(
        service.search(supernet_id=supernet, constraints=limits, budget={"evaluations": 8}),
        timeout=120,
    )
    maximal = service.get(f"/v1/supernets/{supernet}")["cost"]["maximal"]["gflops"]
    assert search["maximal_cost"]["gflops"] == maximal
    front = service.get(f"/v1/searches/{search['id']}/front")
    assert front["reference_point"] == search["reference_point"]
    assert 0.55 * maximal < front["reference_point"]["gflops"] < 0.7 * maximal
    assert all(item["cost"]["gflops"] <= bound for item in front["items"])
    assert front["hypervolume"] == pytest.approx(recomputed(front))
    assert search["hypervolume"] == front["hypervolume"]


def test_without_constraints_it_is_measured_against_the_maximal_subnet(light_service):
    search = light_service.wait(light_service.search(budget={"evaluations": 6}), timeout=120)
    assert search["reference_point"] == {
        "accuracy": 0.0,
        "gflops": 1.1 * search["maximal_cost"]["gflops"],
    }


def test_a_search_of_an_earlier_version_keeps_the_reference_point_it_began_with(
    sqlite_url, tmp_path
):
    with running_service(sqlite_url, tmp_path) as running:
        supernet = running.supernet()
        bound = bound_of(running, supernet, 0.6)
        running.worker.open.clear()
        search_id = running.search(
            supernet_id=supernet,
            constraints=[{"cost": "gflops", "max": bound}],
            strategy={"name": "pareto"},
            budget={"evaluations": 12},
        )
        running.wait(search_id, "running")
        running.worker.open.set()
    before = {"accuracy": 0.0, "gflops": 1.1 / 0.6 * bound}
    database = Database(sqlite_url)
    with database.write() as session:
        session.execute(
            update(SearchRow)
            .where(SearchRow.id == search_id)
            .values(reference_point=before, state="running", hypervolume=0.0)
        )
    database.engine.dispose()
    with running_service(sqlite_url, tmp_path) as running:
        search = running.wait(search_id, timeout=120)
        front = running.get(f"/v1/searches/{search_id}/front")
    assert search["reference_point"] == front["reference_point"] == before
    assert search["hypervolume"] == pytest.approx(recomputed(front))


def test_a_request_is_validated_without_any_strategy(light_service, monkeypatch):
    def unwanted(*_, **__):
        raise AssertionError("a strategy was made")

    monkeypatch.setattr("elasticnas.search.strategies.make_strategy", unwanted)

    def post(**fields) -> httpx2.Response:
        light_service.worker.open.clear()
        return light_service.client.post("/v1/searches", json=light_service.body(**fields))

    refused = post(constraints=[{"cost": "gflops", "max": 0.001}])
    assert refused.json()["errors"][0]["pointer"] == "/constraints/0/max"
    refused = post(initial_subnets=[{"x": 1}])
    assert refused.json()["errors"][0]["pointer"] == "/initial_subnets/0/x"
    fields = {"strategy": {"name": "random"}, "parallel_evaluations": 1024}
    assert post(budget={"evaluations": 1100}, **fields).status_code == 201
    light_service.worker.open.set()


def test_a_search_that_verifies_counts_its_own_rows_only(service, monkeypatch):
    told = []

    class Loop(active.SearchLoop):
        def __init__(self, *args, rows, **fields):
            told.append(rows)
            super().__init__(*args, rows=rows, **fields)

    monkeypatch.setattr(active, "SearchLoop", Loop)
    dataset = service.dataset(rows=21)
    verifying = service.wait(
        service.search(dataset_id=dataset, verify=0.3, budget={"evaluations": 4}), timeout=120
    )
    assert set(told) == {14}  # of 21, 7 are set aside
    card = built(service, f"/v1/searches/{verifying['id']}/subnets/1/weights")
    assert card_of(card)["dataset_rows"] == 14
    whole = service.wait(service.search(dataset_id=dataset, budget={"evaluations": 4}), timeout=120)
    assert set(told) == {14, 21}
    card = built(service, f"/v1/searches/{whole['id']}/subnets/1/weights")
    assert card_of(card)["dataset_rows"] == 21


def card_of(answer: httpx2.Response) -> dict:
    assert answer.status_code == 200, answer.text
    pack = zipfile.ZipFile(io.BytesIO(answer.content))
    [name] = [name for name in pack.namelist() if name.endswith("config.json")]
    return json.loads(pack.read(name))
