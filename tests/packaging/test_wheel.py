"""The package as users install it: what is in the wheel, and what works on its base install."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.stub import Answer, Request, StubServer, search_read
from tests.packaging.fresh import ROOT, Fresh, build_wheel

HEAVY = ("torch", "transformers", "fastapi", "sqlalchemy", "scipy", "dramatiq")
SCRIPT = """
from elasticnas.client import Client, ServerProblemError

def best(server: str, search: str) -> float:
    with Client(server) as client:
        front = client.front(search, max_gflops=0.4)
        return max(point.cost["gflops"] for point in front.items)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    return Fresh(tmp_path_factory.mktemp("base") / "venv", wheel)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    def answer(request: Request) -> Answer:
        if request.path.partition("?")[0] == "/v1/searches":
            return Answer(200, {"items": [search_read()], "next_cursor": None})
        return Answer(404, {"title": "Not found", "status": 404, "detail": "there is no search"})

    with StubServer(answer) as server:
        yield server


def test_the_wheel_adds_one_name_to_site_packages(wheel: Path, base: Fresh):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"elasticnas"}
    assert {name.partition("-")[0] for name in base.added} == {"elasticnas"}
    rooms = {marker.parent.name for marker in ROOT.glob("*/py.typed")}
    assert {name.split("/")[1] for name in names if name.endswith("py.typed")} == rooms
    for_developers = ROOT / "service/page/tooling"
    sources = [
        file
        for room in rooms
        for file in (ROOT / room).rglob("*.py")
        if not file.is_relative_to(for_developers)
    ]
    assert {f"elasticnas/{file.relative_to(ROOT)}" for file in sources} <= set(names)
    assert not [name for name in names if "/tooling/" in name]
    page = [file for file in (ROOT / "service/page/content").rglob("*") if file.is_file()]
    assert {f"elasticnas/{file.relative_to(ROOT)}" for file in page} <= set(names)


def test_the_base_install_can_import_nothing_heavy(base: Fresh, tmp_path: Path):
    found = base.run(
        "python",
        "-c",
        f"import importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])",
        cwd=tmp_path,
    )
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments", [(), ("search",), ("front",), ("weights",), ("supernet", "add"), ("serve",)]
)
def test_help_needs_nothing_but_the_base(arguments: tuple[str, ...], base: Fresh, tmp_path: Path):
    answer = base.run("elasticnas", *arguments, "--help", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "Usage" in answer.stdout


def test_client_commands_work_on_the_base(base: Fresh, stub: StubServer, tmp_path: Path):
    listed = base.run("elasticnas", "search", "list", "--server", stub.url, cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "search-1" in listed.stdout
    for command in (("front", "nose"), ("weights", "nose", 1, "--output", "w")):
        refused = base.run("elasticnas", *command, "--server", stub.url, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == "elasticnas: there is no search\n"


@pytest.mark.parametrize(
    ("command", "extras"),
    [
        (("serve",), "server"),
        (("coordinate",), "server"),
        (("worker",), "worker"),
        (("train", "--base", ".", "--data", "rows.jsonl", "--output", "net"), "worker"),
        (("demo",), "server,worker,demo"),
        (("settings",), "server"),
        (("storage", "check"), "server"),
        (("create-bucket",), "server"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_a_missing_extra_is_one_line_that_says_what_to_install(
    command: tuple[str, ...], extras: str, base: Fresh, tmp_path: Path
):
    (tmp_path / "rows.jsonl").write_text("{}")
    ended = base.run("elasticnas", *command, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.endswith(f"pip install 'elasticnas[{extras}]'")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_server_without_the_worker_extra_says_so_or_needs_a_queue(wheel: Path, tmp_path: Path):
    server = Fresh(tmp_path / "venv", wheel, "server")
    ended = server.run("elasticnas", "serve", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.endswith("pip install 'elasticnas[server,worker]'\n")
    without = server.run("python", "-c", "import elasticnas.service.app", cwd=tmp_path)
    assert without.returncode == 0, without.stderr
    page = "from elasticnas.service.page.assets import assets; print(*assets().files)"
    files = server.run("python", "-c", page, cwd=tmp_path).stdout.split()
    content = ROOT / "service/page/content"
    assert set(files) > {path.relative_to(content).as_posix() for path in content.rglob("*.js")}


def test_a_script_is_checked_strictly_against_the_installed_package(base: Fresh, tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    example = (ROOT / "docs/client.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "example.py").write_text(example)
    wrong = SCRIPT.replace("-> float", "-> str")
    (tmp_path / "wrong.py").write_text(wrong)

    def check(name: str) -> subprocess.CompletedProcess[str]:
        options = ("--strict", "--python-executable", base.bin / "python")
        return subprocess.run(
            [sys.executable, "-m", "mypy", *options, "--follow-imports=silent", name],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    assert check("script.py").stdout == "Success: no issues found in 1 source file\n"
    assert check("example.py").stdout == "Success: no issues found in 1 source file\n"
    assert "Incompatible return value type" in check("wrong.py").stdout
