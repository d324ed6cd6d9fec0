"""The main job on the page: a search by form, its front as it grows, a budget, a subnet at home."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.end_to_end.server import Server, write_rows
from tests.page.conftest import Watched
from tests.supernet.test_reader import write_lonas

pytestmark = pytest.mark.slow

BUDGET = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with a worker inside, which has a super-network and data."""
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder / "data").start()
    checkpoint = write_lonas(tmp_path_factory.mktemp("input") / "checkpoint")
    server.register(checkpoint, write_rows(checkpoint.parent / "rows.jsonl", 400))
    yield server
    server.stop()


def url_of(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def start(page: Any, server: Server, name: str, evaluations: int) -> str:
    """Start a search by the form; its id."""
    page.goto(url_of(server, "/searches/new"))
    page.locator("[name=name]").fill(name)
    page.locator("[name='budget/evaluations']").fill(str(evaluations))
    page.locator("[name='strategy/name']").select_option("nsga2")
    page.get_by_text(re.compile(r"settings of nsga2")).click()
    page.locator("[name='strategy/population_size']").fill("10")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url(re.compile(r"/searches/search-"))
    return page.url.rsplit("/", 1)[1]


def finished(page: Any) -> int:
    """How many evaluations the page says are over."""
    text = page.locator(".facts dd").first.inner_text()
    return int(text.split()[0].replace(",", ""))


def test_from_a_form_to_stock_transformers(tab: Watched, server: Server, tmp_path: Path):
    page = tab.page
    search = start(page, server, "by form", BUDGET)
    page.get_by_role("listbox").wait_for()
    first = finished(page)
    page.wait_for_function(
        "before => parseInt(document.querySelector('.facts dd').innerText) > before", arg=first
    )
    assert server.read(search)["name"] == "by form"

    page.locator("h1 .state.completed").wait_for(timeout=300_000)
    assert finished(page) == BUDGET
    front = server.front(search)
    page.wait_for_function(
        "count => document.querySelectorAll('.front .member').length === count",
        arg=len(front["items"]),
    )

    slider = page.get_by_label(re.compile(r"^At most GFLOPs$"))
    slider.focus()
    slider.press("Home")
    cheapest = front["items"][0]
    assert f"no. {cheapest['number']}," in page.locator(".sentence").inner_text()
    page.get_by_role("link", name="Open", exact=True).click()
    page.get_by_role("heading", name=f"Subnet {cheapest['number']}").wait_for()

    section = page.get_by_label("Download", exact=True)
    with page.expect_download(timeout=120_000) as download:
        section.get_by_role("button", name="Download").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path / "home")
    (folder,) = [path.parent for path in (tmp_path / "home").rglob("config.json")]
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    tokens = AutoTokenizer.from_pretrained(folder)("the film is good", return_tensors="pt")
    assert model(**tokens).logits.shape == (1, 2)
    assert sum(each.numel() for each in model.parameters()) == cheapest["cost"]["params"]


def test_the_page_outlives_its_server(tab: Watched, server: Server):
    page = tab.page
    search = start(page, server, "outlives", 150)
    page.get_by_role("listbox").wait_for()
    server.kill()
    page.get_by_text("The connection to the server is lost").wait_for()
    seen = finished(page)
    server.start()
    page.get_by_text("The connection to the server is lost").wait_for(state="detached")
    page.locator("h1 .state.completed").wait_for(timeout=300_000)
    assert finished(page) == 150 > seen
    front = server.front(search)["items"]
    page.wait_for_function(
        "count => document.querySelectorAll('.front .member').length === count", arg=len(front)
    )
