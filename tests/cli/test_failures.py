"""How the command line ends when something goes wrong: one line and an exit code, no traceback."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elasticnas.cli import main
from elasticnas.cli.failures import Tracebacks
from elasticnas.service.database import Database
from tests.backing import free_port
from tests.client.stub import Answer, StubServer, job_read, search_read

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "elasticnas.cli.main")
LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture
def elasticnas(monkeypatch, capsys, tmp_path: Path):
    """Run a command in this process and in ``tmp_path``: exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Tracebacks, "asked_for", False)
    monkeypatch.setattr(Tracebacks, "in_log", False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["elasticnas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        captured = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), captured.out, captured.err

    return run


def apart(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def dataset(**changes) -> dict:
    return {
        **{"id": "dataset-1", "name": "\u60c5\u611f \U0001f600", "task": "text-classification"},
        **{"metric": "accuracy", "rows": 2, "text_columns": ["text"], "label_column": "label"},
        **{"num_labels": 2, "label_names": None, "digest": "0" * 64, "created_at": LONG_AGO},
        **changes,
    }


def one_line(error: str) -> str:
    assert "Traceback" not in error
    [line] = error.strip().splitlines()
    assert line.startswith("elasticnas: ")
    return line


# -- processes that cannot begin -----------------------------------------------------------------


def file_for_folder(folder: Path) -> tuple[list[object], str]:
    (folder / "data").write_text("x")
    return ["--data-dir", folder / "data"], "data_dir: this folder cannot be used: File exists"


def folder_below_file(folder: Path) -> tuple[list[object], str]:
    (folder / "file").write_text("x")
    return ["--data-dir", folder / "file" / "data"], "Not a directory"


def no_name_of_a_folder(_: Path) -> tuple[list[object], str]:
    return ["--data-dir", ""], "--data-dir: the name of this folder is empty"


def no_database(folder: Path) -> tuple[list[object], str]:
    (folder / "elasticnas.db").write_bytes(os.urandom(20_000))
    return ["--data-dir", folder], "file is not a database"


def newer_database(folder: Path) -> tuple[list[object], str]:
    database = Database(f"sqlite:///{folder / 'elasticnas.db'}")
    database.migrate()
    database.close()
    with sqlite3.connect(folder / "elasticnas.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    return ["--data-dir", folder], "made by a newer version of ElasticNAS"


def database_away(folder: Path) -> tuple[list[object], str]:
    url = f"postgresql+psycopg://user:secret@127.0.0.1:{free_port()}/x"
    return ["--data-dir", folder, "--database-url", url], "user:***@127.0.0.1"


def blobs_is_file(folder: Path) -> tuple[list[object], str]:
    (folder / "blobs").write_text("x")
    return ["--data-dir", folder], "blobs"


@pytest.mark.parametrize(
    "prepare",
    [
        folder_below_file,
        no_database,
        newer_database,
        *(
            pytest.param(prepare, marks=pytest.mark.slow)
            for prepare in (file_for_folder, no_name_of_a_folder, database_away, blobs_is_file)
        ),
    ],
)
def test_a_server_that_cannot_begin_says_why(prepare, tmp_path: Path):
    options, message = prepare(tmp_path)
    ended = apart("serve", "--port", free_port(), *options, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    said = one_line(ended.stderr.strip().splitlines()[-1])
    assert message in said
    assert "Traceback" not in ended.stderr
    assert "secret" not in said


def test_a_port_in_use_is_said_at_once_and_nothing_is_left_behind(tmp_path: Path):
    with StubServer(lambda _: Answer()) as other:
        ended = apart("serve", "--port", other.port, "--data-dir", "data", cwd=tmp_path)
    assert ended.returncode == 2
    assert f"127.0.0.1:{other.port}" in one_line(ended.stderr)
    assert "Address already in use" in ended.stderr


# -- client commands -----------------------------------------------------------------------------


def test_what_cannot_be_written_is_named(elasticnas, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.png").mkdir()
    with StubServer(lambda _: Answer(200, b"picture")) as stub:
        for target in ("file/front.png", "folder.png"):
            code, out, err = elasticnas("plot", "a", "--output", target, "--server", stub.url)
            assert (code, out) == (2, "")
            assert target.partition("/")[0] in one_line(err)
        code, _, err = elasticnas("weights", "a", 1, "--output", "file/w", "--server", stub.url)
    assert code == 2
    assert one_line(err) == "elasticnas: file: File exists"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_weights_that_are_no_archive_leave_nothing_behind(elasticnas, tmp_path: Path):
    answer = Answer(200, b"no zip", {"ETag": '"1"'})
    with StubServer(lambda _: answer) as stub:
        code, _, err = elasticnas("weights", "a", 1, "--output", "w", "--server", stub.url)
    assert code == 1
    assert "archive" in one_line(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("state", "code", "message"),
    [("completed", 0, ""), ("failed", 1, "the disk burns"), ("cancelled", 3, "job retry job-1")],
)
def test_how_a_job_ended_is_the_exit_code_of_watching_it(elasticnas, state, code, message):
    problem = {"title": "x", "status": 422, "detail": "the disk burns"} if code == 1 else None
    job = job_read(state=state, problem=problem, supernet_id="net" if code == 0 else None)
    with StubServer(lambda _: Answer(200, job)) as stub:
        found, out, err = elasticnas("job", "watch", "job-1", "--server", stub.url)
    assert (found, out) == (code, "super-network net\n" if code == 0 else "")
    assert message in err


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1, 2", b"nose = 1", b"port = "])
def test_a_configuration_file_that_cannot_be_read_is_named(elasticnas, tmp_path: Path, content):
    (tmp_path / "elasticnas.toml").write_bytes(content)
    code, _, err = elasticnas("settings")
    assert code == 2
    assert "elasticnas.toml" in one_line(err)


def test_a_byte_order_mark_in_a_configuration_file_is_passed_over(elasticnas, tmp_path: Path):
    (tmp_path / "elasticnas.toml").write_text("migrate_on_start = false", encoding="utf-8-sig")
    code, out, _ = elasticnas("settings", "--json")
    assert code == 0
    assert '"value": false' in out


def test_a_fault_is_called_one_and_shows_its_traceback_on_demand(elasticnas, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise TypeError("None is no number")

    monkeypatch.setattr("elasticnas.client.Client.searches", broken)
    code, _, err = elasticnas("search", "list")
    assert code == 1
    assert "fault of ElasticNAS" in one_line(err)
    assert "TypeError: None is no number" in err
    code, _, err = elasticnas("--debug", "search", "list")
    assert code == 1
    assert "Traceback" in err
    assert "in broken" in err


def test_a_disk_that_is_full_is_said_whoever_says_it(elasticnas, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("elasticnas.client.Client.searches", full)
    assert elasticnas("search", "list")[0] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_an_error():
    with (
        StubServer(lambda _: Answer(200, {"items": [dataset()]})) as stub,
        Path("/dev/full").open("w") as full,
    ):
        ended = subprocess.run(
            [*COMMAND, "dataset", "list", "--json", "--server", stub.url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert ended.returncode == 2
    assert "No space left" in one_line(ended.stderr)


def test_a_reader_that_goes_away_ends_the_command_without_a_word():
    items = [dataset(id=f"dataset-{number}") for number in range(5000)]
    with StubServer(lambda _: Answer(200, {"items": items})) as stub:
        process = subprocess.Popen(
            [*COMMAND, "dataset", "list", "--json", "--server", stub.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("options", [["--json"], []])
def test_a_locale_that_is_not_utf_8_takes_every_name(tmp_path: Path, options):
    with StubServer(lambda _: Answer(200, {"items": [dataset()]})) as stub:
        ended = apart(
            *("dataset", "list", *options, "--server", stub.url),
            cwd=tmp_path,
            LC_ALL="C",
            PYTHONUTF8="0",
            PYTHONCOERCECLOCALE="0",
        )
    assert ended.returncode == 0, ended.stderr
    assert "\\u60c5" in ended.stdout
    if options:
        assert json.loads(ended.stdout)[0]["name"] == dataset()["name"]


def heed_ctrl_c() -> None:
    """In a process that begins: a shell has what it runs in the background ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_a_watched_search_with_130_and_says_that_it_goes_on():
    with StubServer(lambda _: Answer(200, search_read(state="running"))) as stub:
        process = subprocess.Popen(
            [*COMMAND, "search", "follow", "search-1", "--server", stub.url],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=heed_ctrl_c,
        )
        while len(stub.requests) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait() == 130
    assert "elasticnas search follow search-1" in said
    assert "Traceback" not in said


def test_ctrl_c_elsewhere_ends_with_130_and_no_traceback(tmp_path: Path):
    with StubServer(lambda _: Answer(202, b"", {"Retry-After": "0.05"})) as stub:
        process = subprocess.Popen(
            [*COMMAND, "weights", "search-1", "1", "--server", stub.url],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=heed_ctrl_c,
        )
        while len(stub.requests) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 130
    assert list(tmp_path.iterdir()) == []
