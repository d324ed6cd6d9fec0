"""The pictures of a search over REST."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from elasticnas.api_schemas.plots import PictureFormat, PlotKind
from elasticnas.service.plots.canvas import written
from elasticnas.service.plots.registry import PLOTS
from elasticnas.service.plots.subject import Subject
from elasticnas.service.principal import DEFAULT_OWNER, Principal
from tests.service.running import Running
from tests.service.searches.driving import done, move, read

EVALUATIONS = 30


@pytest.fixture
def finished(light_service: Running) -> tuple[Running, str]:
    """A service, and where the pictures of a completed search are."""
    budget = {"evaluations": EVALUATIONS}
    search_id = light_service.search(budget=budget, name="a $mall search")
    light_service.wait(search_id)
    return light_service, f"/v1/searches/{search_id}"


def texts(svg: str) -> list[str]:
    """What a picture says; matplotlib draws letters as paths, and notes each text beside them."""
    ElementTree.fromstring(svg)
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", svg, re.DOTALL)]


def svg_of(service: Running, url: str, kind: str) -> list[str]:
    answer = service.client.get(f"{url}/plots/{kind}", params={"format": "svg"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml"
    return texts(answer.text)


@pytest.mark.parametrize("kind", list(PlotKind))
def test_every_picture_can_be_had_as_png_and_as_svg(finished, kind):
    service, url = finished
    answer = service.client.get(f"{url}/plots/{kind}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 20)) > 10
    assert "a $mall search" in svg_of(service, url, kind)


def test_the_front_says_what_its_dots_are(finished):
    service, url = finished
    front = service.get(f"{url}/front")
    said = svg_of(service, url, "front")
    assert f"Pareto front ({len(front['items'])})" in said
    assert {"maximal subnet", "minimal subnet", "heuristic subnet"} <= set(said)
    assert "GFLOPs, one sequence of 64 tokens" in said
    assert any(f"hypervolume {front['hypervolume']:.4f}" in each for each in said)


def test_a_verified_front_is_drawn_with_its_intervals(light_service):
    search_id = light_service.search(verify=0.5, dataset_id=light_service.dataset(rows=40))
    light_service.wait(search_id)
    said = svg_of(light_service, f"/v1/searches/{search_id}", "front")
    assert "front on unseen rows, 95 % interval" in said


def test_two_metrics_without_a_cost_are_drawn_over_each_other(light_service):
    light_service.worker.metrics = lambda subnet: {
        "accuracy": subnet["layer.0.heads"] / 12,
        "f1": 1 / subnet["layer.0.heads"],
    }
    search_id = light_service.search(objectives=["accuracy", "f1"])
    light_service.wait(search_id)
    said = svg_of(light_service, f"/v1/searches/{search_id}", "front")
    assert {"accuracy", "f1"} <= set(said)


def test_the_history_ends_where_the_search_ended(finished):
    service, url = finished
    hypervolume = service.get(url)["hypervolume"]
    said = svg_of(service, url, "history")
    assert any(f"{hypervolume:.4f} after {EVALUATIONS}" in each for each in said)


def test_the_importance_names_dimensions_the_most_important_first(light_service):
    light_service.worker.metrics = lambda subnet: {
        "accuracy": 0.5 + subnet["layer.1.ffn.width"] / 4096
    }
    search_id = light_service.search(strategy={"name": "random"}, budget={"evaluations": 200})
    light_service.wait(search_id)
    said = svg_of(light_service, f"/v1/searches/{search_id}", "importance")
    bars = [each for each in said if each.startswith("layer.")]
    assert bars[0] == "layer.1.ffn.width"
    assert len(bars) == 9


def test_the_widths_have_a_row_for_each_elastic_part(finished):
    service, url = finished
    said = svg_of(service, url, "widths")
    assert [each for each in said if each in ("heads", "ffn", "rank")] == [
        "heads",
        "ffn",
        "rank",
    ]


def test_an_unchanged_picture_is_not_sent_again(finished):
    service, url = finished
    first = service.client.get(f"{url}/plots/front")
    headers = {"If-None-Match": first.headers["etag"]}
    again = service.client.get(f"{url}/plots/front", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    other = service.client.get(f"{url}/plots/front", params={"format": "svg"}, headers=headers)
    assert other.status_code == 200


def test_a_new_result_makes_a_new_picture(finished):
    service, url = finished
    search_id = url.rsplit("/", 1)[1]
    before = service.client.get(f"{url}/plots/history")
    move(service, search_id, "extend", evaluations=5)
    done(service, search_id, EVALUATIONS + 5)
    service.until(lambda: read(service, search_id)["state"] == "completed")
    after = service.client.get(
        f"{url}/plots/history", headers={"If-None-Match": before.headers["etag"]}
    )
    assert after.status_code == 200
    assert after.content != before.content


def test_the_same_search_gives_the_same_bytes(finished):
    """An ETag that one server gave is honoured by the next."""
    running, url = finished
    service = running.client.app.state.service
    with service.database.read() as session:
        subject = Subject.read(
            session, Principal(DEFAULT_OWNER), service.reports, url.rsplit("/", 1)[1]
        )
    for kind in PlotKind:
        for each in (PictureFormat.PNG, PictureFormat.SVG):
            sent = running.client.get(f"{url}/plots/{kind}", params={"format": each})
            assert written(PLOTS[kind](subject), each) == sent.content


def test_a_search_that_has_measured_nothing_has_no_picture_yet(light_service):
    light_service.worker.open.clear()
    search_id = light_service.search()
    for kind in PlotKind:
        answer = light_service.client.get(f"/v1/searches/{search_id}/plots/{kind}")
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/nothing-to-draw")
        assert "measured" in answer.json()["detail"]


def test_importance_of_equal_subnets_cannot_be_drawn(light_service):
    light_service.worker.metrics = lambda _subnet: {"accuracy": 0.5}
    search_id = light_service.search()
    light_service.wait(search_id)
    answer = light_service.client.get(f"/v1/searches/{search_id}/plots/importance")
    assert answer.status_code == 409
    assert "have the same accuracy" in answer.json()["detail"]


def test_what_does_not_exist_is_named(light_service):
    missing = light_service.client.get("/v1/searches/search-none/plots/front")
    assert (missing.status_code, "search-none" in missing.json()["detail"]) == (404, True)
    for path in ("plots/pie", "plots/front?format=gif"):
        answer = light_service.client.get(f"/v1/searches/search-none/{path}")
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"


def test_subnets_that_were_given_up_are_drawn_where_they_were_expected(light_service):
    search_id = light_service.search(racing={"confidence": 0.9}, budget={"evaluations": 40})
    progress = light_service.wait(search_id)["progress"]
    url = f"/v1/searches/{search_id}"
    assert progress["given_up"] > 0
    said = svg_of(light_service, url, "front")
    assert {"evaluated", "given up, estimated"} <= set(said)
    assert any("40 subnets" in each for each in said)
    assert any("after 40" in each for each in svg_of(light_service, url, "history"))
    assert any("on 40 subnets" in each for each in svg_of(light_service, url, "importance"))


def test_what_is_drawn_comes_as_data_too(finished):
    service, url = finished
    data = {kind: service.get(f"{url}/plots/{kind}", format="json") for kind in PlotKind}
    assert {each["title"] for each in data.values()} == {"a $mall search"}
    front = service.get(f"{url}/front")["items"]
    assert {p["number"] for p in data["front"]["layers"]["front"]} == {p["number"] for p in front}
    assert len(data["front"]["layers"]["measured"]) == EVALUATIONS - len(front)
    point = data["front"]["layers"]["front"][0]
    assert {"accuracy", "gflops", "origin", "verified"} <= set(point)
    history = data["history"]["layers"]["history"]
    assert [p["sequence"] for p in history] == list(range(1, EVALUATIONS + 1))
    assert history[-1]["hypervolume"] == service.get(url)["hypervolume"]
    shares = [each["share"] for each in data["importance"]["layers"]["importance"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0)
    widths = data["widths"]["layers"]["widths"]
    assert {(each["part"], each["layer"]) for each in widths} >= {("heads", 0), ("rank", 2)}
    assert all(0 < each["share"] <= 1 for each in widths)


def test_a_vega_lite_specification_brings_its_data_and_names_its_fields(finished):
    service, url = finished
    for kind in PlotKind:
        answer = service.client.get(f"{url}/plots/{kind}", params={"format": "vega-lite"})
        assert answer.headers["content-type"] == "application/vnd.vegalite.v5+json"
        spec = answer.json()
        data = service.get(f"{url}/plots/{kind}", format="json")
        assert spec["datasets"] == data["layers"]
        assert spec["title"] == data["title"]
        for layer in spec.get("layer", [spec]):
            rows = data["layers"][(layer.get("data") or spec["data"])["name"]]
            made = {w["as"] for t in layer.get("transform", ()) for w in t.get("window", ())}
            for channel in (spec.get("encoding") or layer["encoding"]).values():
                for each in channel if isinstance(channel, list) else [channel]:
                    assert all(each["field"] in {*row, *made} for row in rows)


def test_data_that_is_not_there_yet_is_the_same_problem_as_its_picture(light_service):
    light_service.worker.open.clear()
    search = light_service.search(budget={"evaluations": 3})
    for kind in PlotKind:
        answer = light_service.client.get(
            f"/v1/searches/{search}/plots/{kind}", params={"format": "json"}
        )
        assert answer.status_code == 409
        assert answer.json()["type"] == "/problems/nothing-to-draw"
