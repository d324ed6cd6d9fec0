"""Every view in a real browser, against a service whose worker computes instead of measuring."""

from __future__ import annotations

import re
import zipfile
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.page.conftest import Watched
from tests.page.serving import Served


@pytest.fixture(scope="module")
def search(service: Served) -> str:
    """A finished search of 60 subnets."""
    search = service.search(name="the search", budget={"evaluations": 60})
    service.wait(search)
    return search


@pytest.mark.slow
def test_all_views_show_themselves_and_ask_nobody_else(tab: Watched, service: Served, search: str):
    found = service.get(f"/v1/searches/{search}")
    front = service.get(f"/v1/searches/{search}/front")
    b = front["best"]
    (job,) = service.get("/v1/jobs", limit=1)["items"]
    views = {
        "/": "Searches",
        "/searches/new": "New search",
        f"/searches/{search}": "the search",
        f"/searches/{search}/subnets/{b}": f"Subnet {b}",
        "/supernets": "Super-networks",
        f"/supernets/{found['supernet_id']}": "net",
        "/datasets": "Datasets",
        f"/datasets/{found['dataset_id']}": "toy",
        "/workers": "Workers",
        "/jobs": "Jobs",
        f"/jobs/{job['id']}": job["name"],
        "/docs": "REST",
    }
    for view, title in views.items():
        tab.page.goto(service.url + view)
        tab.page.get_by_text("Loading…").first.wait_for(state="detached")
        assert title in tab.page.locator("h1").inner_text(), view
        assert tab.page.locator(".note.bad").count() == 0, tab.page.locator(
            ".note.bad"
        ).inner_text()


def test_the_slider_finds_what_the_rest_finds(tab: Watched, service: Served, search: str):
    tab.page.goto(f"{service.url}/searches/{search}")
    slider = tab.page.get_by_label(re.compile(r"^At most GFLOPs$"))
    slider.focus()
    for _ in range(3):
        slider.press("PageDown")
    bound = float(tab.page.get_by_label("At most GFLOPs, as a number").input_value())
    front = service.get(f"/v1/searches/{search}/front", max_gflops=bound)
    assert len(front["items"]) < len(service.get(f"/v1/searches/{search}/front")["items"])
    said = tab.page.locator(".sentence").inner_text()
    assert f"no. {front['best']}," in said
    best = next(each for each in front["items"] if each["number"] == front["best"])
    assert f"{best['metrics']['accuracy']:.3f}" in said
    tab.page.get_by_role("heading", name=f"Subnet {front['best']}").wait_for()

    tab.page.wait_for_url(re.compile(f"max_gflops={re.escape(f'{bound:g}')}$"))
    tab.page.reload()  # the address is the state
    assert tab.page.locator(".sentence").inner_text() == said


def test_a_bound_that_excludes_all_names_the_closest(tab: Watched, service: Served, search: str):
    cheapest = service.get(f"/v1/searches/{search}/front")["items"][0]["cost"]["gflops"]
    tab.page.goto(f"{service.url}/searches/{search}?max_gflops={cheapest / 2}")
    note = tab.page.locator(".note.warm")
    assert "Nothing under" in note.inner_text()
    note.get_by_role("button").click()
    assert "of the full model" in tab.page.locator(".sentence").inner_text()


@pytest.mark.slow
def test_the_front_is_one_tab_stop_that_arrows_walk(tab: Watched, service: Served, search: str):
    items = service.get(f"/v1/searches/{search}/front")["items"]
    tab.page.goto(f"{service.url}/searches/{search}")
    front = tab.page.get_by_role("listbox", name=re.compile("Pareto front"))
    front.focus()
    front.press("Home")
    for item in items[:3]:
        active = front.get_attribute("aria-activedescendant")
        assert active == f"member-{item['number']}"
        tab.page.wait_for_url(re.compile(f"subnet={item['number']}$"))
        front.press("ArrowRight")
    front.press("?")
    dialog = tab.page.get_by_role("dialog", name="Keys")
    dialog.wait_for()
    dialog.get_by_role("button").click()
    front.press("Home")
    with tab.page.expect_download() as download:
        front.press("d")
    assert zipfile.is_zipfile(download.value.path())
    front.press("Enter")
    tab.page.wait_for_url(f"**/subnets/{items[0]['number']}")
    tab.page.go_back()
    tab.page.get_by_role("listbox").wait_for()


@pytest.mark.slow
def test_a_brush_filters_the_front_and_the_table(tab: Watched, service: Served, search: str):
    tab.page.goto(f"{service.url}/searches/{search}?tab=parallel")
    axis = tab.page.locator("[data-axis=gflops]")
    axis.scroll_into_view_if_needed()
    box = axis.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    tab.page.mouse.move(x, box["y"] + box["height"] / 2)
    tab.page.mouse.down()
    tab.page.mouse.move(x, box["y"] + box["height"] - 40, steps=8)
    tab.page.mouse.up()
    tab.page.wait_for_url(re.compile("only=gflops"))
    earlier = ""
    while earlier != tab.page.url:  # the address follows a drag a moment later
        earlier = tab.page.url
        tab.page.wait_for_timeout(600)
    asked = parse_qs(urlsplit(tab.page.url).query)["only"][0].removeprefix("gflops:")
    low, high = (float(end) for end in asked.split(".."))
    of_cost = service.get(f"/v1/searches/{search}/points", fields="gflops")["columns"]["gflops"]
    passing = sum(low <= cost <= high for cost in of_cost)
    assert 0 < passing < len(of_cost)
    front = [
        each["cost"]["gflops"] for each in service.get(f"/v1/searches/{search}/front")["items"]
    ]
    outside = tab.page.locator(".front .member.outside")
    expect(outside).to_have_count(sum(not low <= cost <= high for cost in front))

    tab.page.get_by_role("tab", name="Table").click()
    tab.page.get_by_text(f"{passing} of {len(of_cost)} results").wait_for()


@pytest.mark.slow
def test_a_refusal_marks_its_field(tab: Watched, service: Served, search: str):
    supernet = service.get(f"/v1/searches/{search}")["supernet_id"]
    tab.page.goto(f"{service.url}/searches/new?supernet={supernet}")
    tab.page.get_by_role("button", name="Add a constraint").click()
    bound = tab.page.locator("input[name='constraints/0/max']")
    bound.fill("0.000001")
    tab.page.get_by_role("button", name="Start the search").click()
    tab.page.get_by_role("alert").wait_for()
    assert bound.get_attribute("aria-invalid") == "true"


@pytest.mark.slow
def test_name_notes_and_tags_are_edited(tab: Watched, service: Served, search: str):
    tab.page.goto(f"{service.url}/searches/{search}")
    tab.page.get_by_role("button", name="Edit").click()
    dialog = tab.page.get_by_role("dialog", name="Edit name, notes and tags")
    dialog.get_by_label("Notes").fill("the one for phones")
    dialog.get_by_label("Tags").fill("phones, first ,")
    dialog.get_by_label("Tags").press("Enter")
    tab.page.get_by_text("the one for phones", exact=True).wait_for()
    found = service.get(f"/v1/searches/{search}")
    assert (found["notes"], found["tags"]) == ("the one for phones", ["phones", "first"])
    tab.page.goto(f"{service.url}/?q=phones")
    tab.page.get_by_role("link", name="the search").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["supernet", "dataset"])
def test_supernets_and_datasets_are_edited_alike(
    tab: Watched, service: Served, search: str, kind: str
):
    identifier = service.get(f"/v1/searches/{search}")[f"{kind}_id"]
    tab.page.goto(f"{service.url}/{kind}s/{identifier}")
    tab.page.get_by_role("button", name="Edit").click()
    dialog = tab.page.get_by_role("dialog", name="Edit name, notes and tags")
    dialog.get_by_label("Name").fill("")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("alert").wait_for()  # it must have a name
    dialog.get_by_label("Name").fill(f"a better {kind}")
    dialog.get_by_label("Tags").fill("phones")
    dialog.get_by_role("button", name="Save").click()
    tab.page.get_by_role("heading", name=f"a better {kind}").wait_for()
    expect(dialog).to_be_hidden()
    found = service.get(f"/v1/{kind}s/{identifier}")
    assert (found["name"], found["tags"]) == (f"a better {kind}", ["phones"])


@pytest.mark.slow
def test_a_download_says_who_builds_it_and_how_far_that_is(
    tab: Watched, service: Served, search: str
):
    number = service.get(f"/v1/searches/{search}/front")["best"]
    tab.page.goto(f"{service.url}/searches/{search}/subnets/{number}")
    neighbours = tab.page.get_by_role("region", name="Neighbours")
    expect(neighbours.get_by_text("(maximal)")).to_have_count(1)
    service.worker.exports_open.clear()
    download = tab.page.get_by_role("region", name="Download").get_by_role(
        "button", name="Download"
    )
    with tab.page.expect_download() as received:
        download.first.click()
        tab.page.get_by_text("It waits for a worker.").wait_for()
        service.builds("gpu-1", 1_500_000)
        tab.page.get_by_text("gpu-1 builds it: 1.5 MB so far").wait_for()
        service.worker.exports_open.set()
    assert received.value.suggested_filename.endswith(f"-{number}-transformers.zip")


@pytest.mark.slow
def test_a_search_says_which_workers_are_at_it(tab: Watched, service: Served, search: str):
    others = service.search(name="long", budget={"evaluations": 5000, "seconds": 600})
    service.client.post(f"/v1/searches/{others}/pause")
    service.wait(others, "paused")
    service.worker.heartbeat(name="gpu-7", evaluating=(f"{others}/4",))
    service.worker.heartbeat(name="gpu-8", evaluating=(f"{search}/4",))
    tab.page.goto(f"{service.url}/searches/{others}")
    facts = tab.page.get_by_role("region", name="Progress")
    facts.get_by_text("gpu-7").wait_for()
    assert "gpu-8" not in facts.inner_text()
    service.client.post(f"/v1/searches/{others}/cancel")
    expect(facts.get_by_text("gpu-7")).to_have_count(0)


@pytest.mark.slow
def test_without_javascript_the_page_says_what_else_there_is(browser: Any, service: Served):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(service.url)
    assert "elasticnas front SEARCH" in page.inner_text("body")
    context.close()


@pytest.mark.slow
def test_failures_are_grouped_by_their_problem_and_retried(tab: Watched, service: Served):
    def fail(subnet: dict[str, int]) -> dict[str, float]:
        raise ValueError(f"the GPU has no room for {len(subnet)} layers")

    measures, service.worker.metrics = service.worker.metrics, fail
    try:
        unmeasured = service.dataset(rows=6)  # of others the database knows the answers
        body = service.body(dataset_id=unmeasured, budget={"evaluations": 8}, name="fails")
        search = service.client.post("/v1/searches", json=body).json()["id"]
        failed = service.wait(search, "failed")["progress"]["failed"]
    finally:
        service.worker.metrics = measures
    tab.page.goto(f"{service.url}/searches/{search}")
    tab.page.get_by_role("heading", name="Every evaluation so far has failed").wait_for()
    group = tab.page.locator("nas-log .note.bad").filter(has_text=f"{failed} subnets:")
    group.wait_for()
    assert "the GPU has no room for 9 layers" in group.inner_text()
    tab.page.locator("nas-log").get_by_role("button", name="Retry failed").click()
    tab.page.get_by_role("listbox").wait_for()
    assert service.get(f"/v1/searches/{search}/front")["items"]
