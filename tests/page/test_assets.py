"""The files of the page: what they are made of, and how they are served."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from elasticnas.service.page.assets import CONTENT, assets
from elasticnas.service.page.endpoints import POLICY, VIEWS
from tests.service.running import Running, running_service

LIMIT = 100_000
"""Bytes, compressed, of all that a browser loads."""
VENDOR = CONTENT / "vendor"
VENDORED = json.loads((VENDOR / "vendor.json").read_text())


@pytest.fixture(scope="module")
def light_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("assets")
    with running_service(f"sqlite:///{folder / 'test.db'}", folder) as running:
        yield running


@pytest.mark.parametrize("name", sorted(VENDORED))
def test_what_is_vendored_is_what_the_manifest_says(name: str):
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == VENDORED[name]["sha256"]


def test_the_licence_of_every_vendored_package_comes_with_it():
    assert {path.name for path in VENDOR.glob("*.js")} == set(VENDORED)
    licences = (VENDOR / "LICENSES.txt").read_text()
    for file in VENDORED.values():
        for package in file["packages"]:
            assert f"{package['name']} {package['version']} ({package['license']})" in licences
            assert package["license"] in ("BSD-3-Clause", "ISC")


def test_all_of_it_is_small():
    found = assets()
    sent = sum(len(asset.compressed) for asset in found.files.values())
    assert sent + len(found.document.compressed) <= LIMIT


@pytest.mark.parametrize("path", sorted(CONTENT.rglob("*.js")), ids=lambda path: path.name)
def test_every_import_is_of_a_file_beside_it(path: Path):
    text = path.read_text()
    if path.parent != VENDOR:
        assert not re.findall(r"https?://(?!www\.w3\.org)", text)
    for target in re.findall(r'(?:from|import)\s*\(?"(\.[^"]+)"', text):
        assert (path.parent / target).is_file(), f"{path.name} imports {target}"


def test_every_view_is_the_document_under_the_policy(light_service: Running):
    for view in VIEWS:
        answer = light_service.client.get(re.sub(r"{\w+}", "1", view))
        assert answer.status_code == 200
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<noscript>" in answer.text
    again = light_service.client.get("/", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_files_are_kept_for_good_under_an_address_of_their_content(light_service: Running):
    script = f"{assets().base}/app.js"
    assert script in light_service.client.get("/").text
    answer = light_service.client.get(script, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content == (CONTENT / "app.js").read_bytes()
    plain = light_service.client.get(script, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == gzip.decompress(assets().files["app.js"].compressed)


@pytest.mark.parametrize(
    "path",
    [
        "/page/0000000000000000/app.js",
        "{base}/none.js",
        "{base}/vendor/LICENSES.txt",
        "{base}/..%2fendpoints.py",
    ],
)
def test_there_is_nothing_else(path: str, light_service: Running):
    answer = light_service.client.get(path.replace("{base}", assets().base))
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"
