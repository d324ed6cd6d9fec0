"""A browser that is watched: what it asks of others, what it violates, what it throws."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.page.serving import Served, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Watched:
    """A tab, and all that it should not have done."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.foreign: list[str] = []
        self.violations: list[str] = []
        self.errors: list[str] = []
        self.context.route(lambda url: not self._is_ours(url), self._refuse)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._hear)
        self.page.set_default_timeout(60_000)

    @staticmethod
    def _is_ours(url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("data", "blob") or parts.hostname == "127.0.0.1"

    def _refuse(self, route: Any) -> None:
        self.foreign.append(route.request.url)
        route.abort()

    def _hear(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.violations.append(message.text)

    def check(self) -> None:
        """Nothing of another host was asked for, nothing forbidden was done, nothing was thrown."""
        assert (self.foreign, self.violations, self.errors) == ([], [], [])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; of one module alone, as Playwright's event loop runs in the thread of the tests."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Watched]:
    """A tab that must have behaved."""
    watched = Watched(browser, viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield watched
    watched.context.close()
    watched.check()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a stand-in worker, shared by the tests of a file."""
    folder: Path = tmp_path_factory.mktemp("page")
    with served(folder) as running:
        yield running
