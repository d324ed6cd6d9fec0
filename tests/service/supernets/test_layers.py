"""Layers, many costs at once and feasibility over REST."""

from __future__ import annotations

import pytest

from tests.service.running import Running


@pytest.fixture
def path(light_service: Running) -> str:
    return f"/v1/supernets/{light_service.supernet()}"


def test_the_layers_of_a_space(light_service: Running, path: str):
    layers = light_service.get(f"{path}/layers")
    assert [each["layer"] for each in layers["layers"]] == [0, 1, 2]
    assert [d["part"] for d in layers["layers"][1]["dimensions"]] == ["heads", "ffn", "rank"]
    assert layers["dimensions"] == []


def test_many_subnets_are_priced_in_one_request(light_service: Running, path: str):
    subnets = [{}, {"layer.1.heads": 6}]
    body = {"subnets": subnets, "max_length": 32, "per_layer": True}
    answer = light_service.client.post(f"{path}/costs", json=body).json()
    assert answer["max_length"] == 32
    for asked, item in zip(subnets, answer["items"], strict=True):
        one = light_service.client.post(f"{path}/cost", json={"subnet": asked, "max_length": 32})
        assert item["cost"] == one.json()
        total = sum(each["cost"]["params"] for each in item["layers"]) + item["rest"]["params"]
        assert total == item["cost"]["params"]
    assert answer["items"][1]["layers"][1]["share"]["heads"] == 0.5
    plain = light_service.client.post(f"{path}/costs", json={"subnets": [{}]}).json()
    assert plain["items"][0]["layers"] is None


def test_a_subnet_that_is_none_is_named_by_its_place(light_service: Running, path: str):
    body = {"subnets": [{}, {"layer.1.heads": 7}]}
    answer = light_service.client.post(f"{path}/costs", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/subnets/1/layer.1.heads"


def test_an_architecture_that_it_does_not_have_is_refused_by_the_layer(
    light_service: Running, path: str
):
    told = {"l": 3, "o": ["sa"] * 3, "p": ["sdp"] * 3, "h": [8] * 3, "n": [1] * 3, "f": [[8]] * 3}
    answer = light_service.client.post(f"{path}/model-dict", json={"model_dict": told})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/model_dict/p/0"
    wrong = light_service.client.post(f"{path}/model-dict", json={"model_dict": told | {"l": "x"}})
    assert wrong.json()["errors"][0]["pointer"] == "/model_dict/l"


def test_what_constraints_leave(light_service: Running, path: str):
    whole = light_service.client.post(f"{path}/feasibility", json={}).json()
    ends = whole["range"]["gflops"]
    bound = {"cost": "gflops", "max": (ends["low"] + ends["high"]) / 2}
    some = light_service.client.post(f"{path}/feasibility", json={"constraints": [bound]}).json()
    assert 0 < some["share"]["value"] < whole["share"]["value"] == 1.0
    assert some["feasible"]["gflops"]["high"] <= bound["max"]
    unknown = {"constraints": [{"cost": "kv_bytes", "max": 1}]}
    answer = light_service.client.post(f"{path}/feasibility", json=unknown)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/constraints/0/cost"
