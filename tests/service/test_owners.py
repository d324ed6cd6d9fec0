"""Two owners on one service: neither reads, changes, lists, counts or refers to what is the
other's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, cast

import httpx2
import pytest
from fastapi import FastAPI, Header
from sqlalchemy import select

from elasticnas.service.database import now
from elasticnas.service.exports.tables import ExportRow
from elasticnas.service.jobs.tables import JobRow, StepRow
from elasticnas.service.principal import Principal, principal
from tests.service.running import Running, tar_of

OWNER = "test-owner"
VALUES = {"number": "0", "kind": "front", "step": "train"}
"""What a path needs beside ids."""
QUERIES = {"/v1/searches/{search_id}/compare": "?a=0&b=1"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/supernets/{supernet_id}/cost": {"subnet": {}},
    "/v1/supernets/{supernet_id}/costs": {"subnets": [{}]},
    "/v1/supernets/{supernet_id}/feasibility": {},
    "/v1/supernets/{supernet_id}/model-dict": {
        "model_dict": {"l": 1, "o": ["sa"], "p": ["sdp"], "h": [8], "n": [1], "f": [[8]]}
    },
    "/v1/searches/{search_id}/extend": {"evaluations": 1},
    "/v1/searches/{search_id}": {"name": "theirs"},
    "/v1/supernets/{supernet_id}": {"name": "theirs"},
    "/v1/datasets/{dataset_id}": {"name": "theirs"},
    "/v1/searches/{search_id}/subnets/{number}/finetune": {"dataset_id": "unknown"},
}
REFERENCES = {
    "/v1/searches": {"supernet_id", "dataset_id", "verify_dataset_id"},
    "/v1/trainings": {"dataset_id"},
    "/v1/supernets/derive": {"dataset_id"},
    "/v1/searches/{search_id}/subnets/{number}/finetune": {"dataset_id"},
}
"""The fields of a body that refer to something stored."""
MODEL = {"archive": ("model.tar", tar_of({"config.json": "{}"}))}
NO_REFERENCES = {"hub_id"}
SHARED = {"/v1/workers", "/v1/meta"}
"""What is the same for all owners."""
ENDLESS = {"/v1/events"}
"""What has no end cannot be read whole: see its own test."""


async def named_owner(owner: Annotated[str, Header(alias=OWNER)] = "alice") -> Principal:
    return Principal(owner)


@dataclass
class Shared:
    """A service that both use, and what is Alice's: ids by the name that paths give them."""

    running: Running
    alices: dict[str, str]

    @property
    def schema(self) -> dict[str, Any]:
        return cast(FastAPI, self.running.client.app).openapi()

    def ask(self, owner: str, method: str, path: str, **sent: Any) -> httpx2.Response:
        headers = {OWNER: owner}
        return self.running.client.request(method.upper(), path, headers=headers, **sent)

    def operations(self) -> Iterator[tuple[str, str]]:
        """Method and path of every operation on something that has an id."""
        for path, methods in self.schema["paths"].items():
            if "_id}" in path:
                yield from ((method, path) for method in methods)

    def everything(self) -> dict[str, Any]:
        """What Alice reads at every address."""
        reads = [path for method, path in self.operations() if method == "get"]
        lists = [
            path for path, on in self.schema["paths"].items() if "{" not in path and "get" in on
        ]
        paths = [filled(path, self.alices) for path in [*reads, *lists] if path.startswith("/v1")]
        apart = SHARED | ENDLESS
        answers = {path: self.ask("alice", "get", path) for path in paths if path not in apart}
        return {path: (each.status_code, each.content) for path, each in answers.items()}


def filled(path: str, ids: dict[str, str]) -> str:
    """The path with these ids; an id that none is known for fails the test."""
    query = QUERIES.get(path, "")
    return re.sub(r"\{(\w+)\}", lambda found: (ids | VALUES)[found[1]], path) + query


@pytest.fixture
def shared(light_service: Running) -> Shared:
    """Alice has a super-network, two datasets, a search that is over, and weights of it."""
    app = cast(FastAPI, light_service.client.app)
    app.dependency_overrides[principal] = named_owner
    ids = {"supernet_id": light_service.supernet(), "dataset_id": light_service.dataset()}
    ids["search_id"] = light_service.search(**ids)
    ids["verify_dataset_id"] = light_service.dataset(rows=6)
    light_service.wait(ids["search_id"])
    weights = f"/v1/searches/{ids['search_id']}/subnets/{VALUES['number']}/weights"
    light_service.until(lambda: light_service.client.get(weights).status_code == 200)
    ids["job_id"] = job_of(light_service, ids["dataset_id"])
    ids["path"] = file_left_by(light_service, ids["job_id"], ids["supernet_id"])
    return Shared(light_service, ids)


def test_what_is_anothers_is_not_there(shared: Shared):
    """At every address of the OpenAPI schema that has an id, as if the id were unknown."""
    before = shared.everything()
    unknown = {name: f"{each[:-3]}xyz" for name, each in shared.alices.items()}
    operations = list(shared.operations())
    assert len(operations) >= 18
    for method, path in operations:
        body = {"json": BODIES[path]} if path in BODIES else {}
        theirs = shared.ask("bob", method, filled(path, shared.alices), **body)
        nobodys = shared.ask("bob", method, filled(path, unknown), **body)
        assert theirs.status_code == nobodys.status_code == 404, (method, path, theirs.text)
        text = theirs.text
        for name, each in shared.alices.items():
            text = text.replace(each, unknown[name])
        assert text == nobodys.text, (method, path)
    assert shared.everything() == before


def test_the_owner_reads_what_another_does_not(shared: Shared):
    """Else the test above would hold of a service that answers 404 always."""
    assert {status for status, _ in shared.everything().values()} == {200}


def test_lists_are_of_ones_own(shared: Shared):
    lists = [
        path
        for path, methods in shared.schema["paths"].items()
        if path.startswith("/v1") and "{" not in path and "get" in methods
        if path not in SHARED | ENDLESS
    ]
    assert {"/v1/supernets", "/v1/datasets", "/v1/searches"} <= set(lists)
    for path in lists:
        assert shared.ask("bob", "get", path).json() == {"items": [], "next_cursor": None}, path
        assert shared.ask("alice", "get", path).json()["items"], path


def test_what_a_worker_is_at_is_told_to_the_owner_of_that_alone(shared: Shared):
    search, supernet, job = (shared.alices[f"{each}_id"] for each in ("search", "supernet", "job"))
    with cast(FastAPI, shared.running.client.app).state.service.database.read() as session:
        export = session.scalars(select(ExportRow.id)).one()
    shared.running.worker.heartbeat(
        evaluating=(
            f"{search}/0",
            f"{search}/1",
            f"{search}/2/verification",
            f"{supernet}/inspection",
            f"{export}/export",
            f"{job}/0/3",
            f"{search}/of/a/later/version",
            "search-that-is-gone/1",
            "export-that-is-gone/export",
        )
    )
    shared.running.until(lambda: shared.running.get("/v1/workers")["items"])

    def at(owner: str) -> list[dict[str, Any]]:
        [worker] = shared.ask(owner, "get", "/v1/workers").json()["items"]
        return [{key: value for key, value in each.items() if value} for each in worker["at"]]

    assert at("bob") == []
    assert at("alice") == [
        {"kind": "evaluation", "search_id": search, "numbers": [0, 1]},
        {"kind": "verification", "search_id": search, "numbers": [2]},
        {"kind": "registration", "supernet_id": supernet, "name": "net.tar"},
        {"kind": "export", "search_id": search, "numbers": [0]},
        {"kind": "step", "job_id": job, "name": "n", "step": "train"},
    ]


def test_every_reference_in_a_body_is_known_to_these_tests(shared: Shared):
    schemas = shared.schema["components"]["schemas"]
    found: dict[str, set[str]] = {}
    for path, methods in shared.schema["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for each in content.values():
            schema = each["schema"]
            schema = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
            for member in [schema, *schema.get("oneOf", ())]:
                fields = {name for name in member.get("properties", ()) if name.endswith("_id")}
                if fields - NO_REFERENCES:
                    found[path] = fields - NO_REFERENCES
    assert found == REFERENCES


@pytest.mark.parametrize("field", sorted(REFERENCES["/v1/searches"]))
def test_a_search_cannot_refer_to_what_is_anothers(shared: Shared, field: str):
    own = {"supernet_id": supernet_of(shared, "bob"), "dataset_id": dataset_of(shared, "bob")}
    theirs = shared.ask("bob", "post", "/v1/searches", json={**own, field: shared.alices[field]})
    unknown = shared.ask("bob", "post", "/v1/searches", json={**own, field: "unknown"})
    assert theirs.status_code == unknown.status_code == 422
    assert theirs.text == unknown.text.replace("unknown", shared.alices[field])
    assert shared.ask("bob", "post", "/v1/searches", json=own).status_code == 201


def test_a_search_cannot_train_on_what_is_anothers(shared: Shared):
    own = {"supernet_id": supernet_of(shared, "bob"), "dataset_id": dataset_of(shared, "bob")}

    def ask(dataset: str) -> httpx2.Response:
        evaluation = {"fine_tune": {"dataset_id": dataset, "steps": 1}}
        return shared.ask("bob", "post", "/v1/searches", json={**own, "evaluation": evaluation})

    theirs, unknown = ask(shared.alices["dataset_id"]), ask("unknown")
    assert theirs.status_code == unknown.status_code == 422
    assert theirs.text == unknown.text.replace("unknown", shared.alices["dataset_id"])


@pytest.mark.parametrize("door", ["/v1/trainings", "/v1/supernets/derive"])
def test_a_training_cannot_refer_to_what_is_anothers(shared: Shared, door: str):
    def ask(dataset: str) -> httpx2.Response:
        request = {"request": json.dumps({"dataset_id": dataset})}
        return shared.ask("bob", "post", door, files=MODEL, data=request)

    theirs, unknown = ask(shared.alices["dataset_id"]), ask("unknown")
    assert theirs.status_code == unknown.status_code == 422
    assert theirs.text == unknown.text.replace("unknown", shared.alices["dataset_id"])
    assert ask(dataset_of(shared, "bob")).status_code == 202


def test_a_fine_tuning_cannot_refer_to_what_is_anothers(shared: Shared):
    own = {"supernet_id": supernet_of(shared, "bob"), "dataset_id": dataset_of(shared, "bob")}
    search = shared.ask("bob", "post", "/v1/searches", json=own).json()["id"]
    number = f"/v1/searches/{search}/evaluations/0"
    shared.running.until(
        lambda: shared.ask("bob", "get", number).json().get("state") == "completed"
    )

    def ask(dataset: str) -> httpx2.Response:
        path = f"/v1/searches/{search}/subnets/0/finetune"
        return shared.ask("bob", "post", path, json={"dataset_id": dataset})

    theirs, unknown = ask(shared.alices["dataset_id"]), ask("unknown")
    assert theirs.status_code == unknown.status_code == 422
    assert theirs.text == unknown.text.replace("unknown", shared.alices["dataset_id"])


def test_an_idempotency_key_is_of_one_owner(shared: Shared):
    ids = []
    for owner in ("alice", "bob"):
        body = {
            "supernet_id": supernet_of(shared, owner),
            "dataset_id": dataset_of(shared, owner),
            "budget": {"evaluations": 4},
        }
        headers = {OWNER: owner, "Idempotency-Key": "the same"}
        client = shared.running.client
        answers = [client.post("/v1/searches", json=body, headers=headers) for _ in range(2)]
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        ids.append(answers[0].json()["id"])
    assert len(set(ids)) == 2


@pytest.mark.slow
def test_answers_from_the_database_are_of_ones_own_searches(shared: Shared):
    """The same checkpoint, rows and seed: only Alice, who measured them, is spared the work."""

    def cached(owner: str) -> int:
        body = {"supernet_id": supernet_of(shared, owner), "dataset_id": dataset_of(shared, owner)}
        answer = shared.ask(owner, "post", "/v1/searches", json=body)
        address = f"/v1/searches/{answer.json()['id']}"
        shared.running.until(
            lambda: shared.ask(owner, "get", address).json()["state"] == "completed", timeout=30
        )
        return shared.ask(owner, "get", address).json()["progress"]["cached"]

    assert cached("bob") == 0
    assert cached("alice") > 0


def file_left_by(running: Running, job_id: str, supernet_id: str) -> str:
    """A file of the job's first step, which has left what the super-network is made of."""
    digest = running.get(f"/v1/supernets/{supernet_id}")["digest"]
    with cast(FastAPI, running.client.app).state.service.database.write() as session:
        session.get_one(StepRow, (job_id, 0)).output = digest
    listed = running.get(f"/v1/jobs/{job_id}/steps/{VALUES['step']}/product")
    return str(listed["files"][0]["path"])


def job_of(running: Running, dataset_id: str) -> str:
    """The id of Alice's job, which has failed."""
    service = cast(FastAPI, running.client.app).state.service
    row = JobRow(
        id="job-of-alice",
        owner="alice",
        created_at=now(),
        kind="training",
        name="n",
        recipe="lonas",
        settings={},
        base_digest="d",
        dataset_id=dataset_id,
        state="failed",
        finished_at=now(),
    )
    with service.database.write() as session:
        session.add(row)
        session.flush()
        session.add(StepRow(job_id=row.id, position=0, name="train", state="failed"))
    return row.id


def supernet_of(shared: Shared, owner: str) -> str:
    """The id of an owner's new super-network, of the same content for all."""
    archive = {"archive": ("net.tar", tar_of({"base/x": "1"}))}
    answer = shared.ask(owner, "post", "/v1/supernets?wait=60", files=archive)
    return answer.json()["id"]


def dataset_of(shared: Shared, owner: str) -> str:
    """The id of an owner's new dataset, of the same content for all."""
    form = {"task": "text-classification", "text_columns": "sentence", "label_column": "label"}
    text = "".join(f'{{"sentence": "row {i}", "label": {i % 2}}}\n' for i in range(4))
    file = {"file": ("d.jsonl", text)}
    answer = shared.ask(owner, "post", "/v1/datasets", data=form, files=file)
    return answer.json()["id"]
