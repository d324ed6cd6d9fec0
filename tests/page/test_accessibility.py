"""axe finds no violation in any view: light, dark, and in one column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.page.conftest import Watched
from tests.page.serving import Served

pytestmark = pytest.mark.slow

WIDTHS = {"light": 1280, "dark": 1280, "narrow": 320}
TABS = ("table", "history", "parallel", "widths", "importance", "log")


@pytest.fixture(scope="module")
def search(service: Served) -> str:
    search = service.search(name="the search", budget={"evaluations": 40}, verify=0.5)
    service.wait(search)
    return search


@pytest.fixture(params=WIDTHS)
def seen(request: pytest.FixtureRequest, browser: Any) -> Iterator[Watched]:
    viewport = {"width": WIDTHS[request.param], "height": 900}
    scheme = "dark" if request.param == "dark" else "light"
    watched = Watched(browser, viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    yield watched
    watched.context.close()
    watched.check()


def views(service: Served, search: str) -> list[str]:
    found = service.get(f"/v1/searches/{search}")
    items = service.get(f"/v1/searches/{search}/front")["items"]
    (job,) = service.get("/v1/jobs", limit=1)["items"]
    of_search = f"/searches/{search}"
    return [
        "/",
        "/searches/new",
        *(f"{of_search}?tab={tab}" for tab in TABS),
        f"{of_search}?max_gflops=0.000001",
        f"{of_search}/subnets/{items[0]['number']}",
        f"{of_search}/compare?a={items[0]['number']}&b={items[-1]['number']}",
        "/supernets",
        f"/supernets/{found['supernet_id']}",
        "/datasets",
        f"/datasets/{found['dataset_id']}",
        "/workers",
        "/jobs",
        f"/jobs/{job['id']}",
        "/docs",
        "/searches/none",
        "/nowhere/at/all",
    ]


def test_no_view_has_a_violation(seen: Watched, service: Served, search: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = {}
    for view in views(service, search):
        if view == "/nowhere/at/all":
            continue
        seen.page.goto(service.url + view)
        seen.page.locator("h1").wait_for()
        seen.page.get_by_text("Loading…").first.wait_for(state="detached")
        closed = seen.page.locator("main details:not([open])")
        closed.evaluate_all("all => all.forEach(each => { each.open = true })")
        results = axe.run(seen.page)
        if results.violations_count:
            found[view] = results.generate_report()
        wide = seen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            found[f"{view} is too wide"] = wide
    assert found == {}
