"""Every subnet of a search is measured in one precision, which the user sees."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from elasticnas.api_schemas.precision import Precision
from elasticnas.service.database import Database
from tests.service.running import Running, running_service

SMALL = {"budget": {"evaluations": 6}}


def evaluations(running: Running, search_id: str) -> list[dict]:
    return running.get(f"/v1/searches/{search_id}/evaluations", limit=100)["items"]


def workers(running: Running, *precisions: Precision) -> None:
    """Living workers that prefer these."""
    for index, precision in enumerate(precisions):
        running.worker.heartbeat(name=f"w{index}", precision=precision)
    running.until(lambda: len(running.get("/v1/workers")["items"]) == len(precisions))


def test_answers_are_shared_only_between_equal_precisions(service: Running):
    workers(service, Precision.BFLOAT16)
    ids = {"supernet_id": service.supernet(), "dataset_id": service.dataset(), **SMALL}
    cached = []
    for asked in ("float32", "bfloat16", "auto", "float32"):
        search = service.wait(service.search(**ids, precision=asked))
        assert search["precision"] == ("float32" if asked == "float32" else "bfloat16")
        found = {each["precision"] for each in evaluations(service, search["id"])}
        assert found == {search["precision"]}
        cached.append(search["progress"]["cached"])
    assert cached == [0, 0, 6, 6]


@pytest.mark.parametrize(
    ("fleet", "chosen"),
    [
        ([], "float32"),
        ([Precision.BFLOAT16], "bfloat16"),
        ([Precision.BFLOAT16, Precision.FLOAT32], "float32"),
        ([Precision.BFLOAT16, Precision.BFLOAT16, Precision.FLOAT32], "bfloat16"),
    ],
)
def test_auto_is_what_most_workers_prefer(light_service: Running, fleet, chosen):
    workers(light_service, *fleet)
    assert light_service.wait(light_service.search(**SMALL))["precision"] == chosen


def test_a_search_keeps_its_precision_whatever_the_workers_become(service: Running):
    service.worker.open.clear()
    search_id = service.search(**SMALL)
    service.until(lambda: service.worker.batches)
    workers(service, Precision.BFLOAT16, Precision.BFLOAT16)
    service.client.post(f"/v1/searches/{search_id}/pause")
    service.client.post(f"/v1/searches/{search_id}/resume")
    service.worker.open.set()
    service.wait(search_id, "queued", "running", "completed")
    service.until(lambda: service.get(f"/v1/searches/{search_id}")["state"] == "completed")
    assert {each["precision"] for each in evaluations(service, search_id)} == {"float32"}


def test_a_search_that_no_living_worker_can_measure_says_so_and_blocks_nobody(
    light_service: Running,
):
    workers(light_service, Precision.FLOAT32)
    light_service.worker.open.clear()
    stuck = light_service.search(**SMALL, precision="bfloat16")
    url = f"/v1/searches/{stuck}"
    light_service.until(lambda: light_service.get(url)["state"] == "running")
    told = light_service.get(url)["waiting_for"]
    assert "bfloat16" in told
    light_service.worker.open.set()
    done = light_service.wait(light_service.search(**SMALL, precision="float32"))
    assert done["waiting_for"] is None
    light_service.worker.heartbeat(name="wide", precision=Precision.BFLOAT16)
    assert light_service.wait(stuck)["precision"] == "bfloat16"


def test_what_was_measured_in_another_precision_is_measured_again_or_fails(sqlite_url, tmp_path):
    """As a worker of an earlier version would."""
    with running_service(sqlite_url, tmp_path) as running:
        running.worker.measures_in = Precision.BFLOAT16
        search_id = running.search(**SMALL, precision="float32")
        running.until(
            lambda: running.get(f"/v1/searches/{search_id}")["state"] == "failed", timeout=40
        )
        failed = evaluations(running, search_id)
        assert all(each["metrics"] is None for each in failed)
        assert "asked for float32" in failed[0]["error"]["detail"]
        running.worker.measures_in = None
        running.client.post(f"/v1/searches/{search_id}/retry")
        running.until(lambda: running.get(f"/v1/searches/{search_id}")["state"] == "completed")


def test_results_of_workers_that_do_not_say_their_precision_fail_nothing(light_service: Running):
    """As in a rolling upgrade: a worker of the earlier version takes messages for a while."""
    light_service.worker.does_not_say = True
    search_id = light_service.search(**SMALL)
    url = f"/v1/searches/{search_id}"
    light_service.until(
        lambda: (
            max((each["attempt"] for each in evaluations(light_service, search_id)), default=0) > 5
        )
    )
    light_service.worker.heartbeat()
    light_service.until(lambda: light_service.get("/v1/workers")["items"])
    assert light_service.get("/v1/workers")["items"][0]["precision"] is None
    light_service.until(lambda: "this version" in (light_service.get(url)["waiting_for"] or ""))
    light_service.worker.does_not_say = False
    light_service.worker.heartbeat()
    found = light_service.wait(search_id)
    assert found["progress"]["failed"] == 0
    assert found["progress"]["completed"] == 6


def test_a_search_half_done_by_an_earlier_version_waits_for_a_worker_that_says_its_precision(
    sqlite_url, tmp_path
):
    with running_service(sqlite_url, tmp_path) as running:
        workers(running, Precision.FLOAT32)
        search_id = running.search(**SMALL)
        running.wait(search_id)
    database = Database(sqlite_url)
    with database.write() as session:
        session.execute(text("UPDATE searches SET precision = NULL, state = 'queued'"))
        session.execute(text("UPDATE evaluations SET precision = NULL"))
        session.execute(text("UPDATE workers SET stopping = TRUE"))
    database.close()
    with running_service(sqlite_url, tmp_path) as running:
        url = f"/v1/searches/{search_id}"
        ticks = running.client.app.state.service.coordinator
        for _ in range(3):
            ticks.wake()
            assert running.get(url)["precision"] is None
        running.worker.heartbeat(name="wide", precision=Precision.BFLOAT16)
        running.until(lambda: running.get(url)["precision"] == "bfloat16")


def test_the_card_of_a_subnet_says_its_precision(light_service: Running):
    import io
    import json
    import zipfile

    search_id = light_service.wait(light_service.search(**SMALL, precision="bfloat16"))["id"]
    url = f"/v1/searches/{search_id}/subnets/1/weights"
    light_service.until(lambda: light_service.client.get(url).status_code == 200)
    pack = zipfile.ZipFile(io.BytesIO(light_service.client.get(url).content))
    assert json.loads(pack.read(pack.namelist()[0]))["precision"] == "bfloat16"


def test_a_precision_that_does_not_exist_is_refused(light_service: Running):
    answer = light_service.client.post("/v1/searches", json=light_service.body(precision="float8"))
    assert answer.status_code == 422
    assert "precision" in answer.json()["errors"][0]["pointer"]
