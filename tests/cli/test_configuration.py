"""Defaults, a file, the environment and options: each wins over the one before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.configuration import Configuration, Origin, read_worker_settings
from elasticnas.cli.setting_list import SERVER_ALONE, WITHOUT_A_PORT
from elasticnas.client.passwords import masked
from elasticnas.service.settings import ProcessSettings, ServiceSettings
from elasticnas.worker.settings import WorkerSettings
from tests.cli.test_commands import elasticnas

FILE = """
redis_url = "redis://queue:6379/0"
tick_seconds = 0.5
server_paths = ["/srv/models"]

[worker]
device = "cpu"
token_budget = 99
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_file_the_defaults_hold():
    found = Configuration.find().read(ServiceSettings)
    assert found.redis_url is None
    assert found.tick_seconds == 0.25


def test_the_file_in_the_working_directory_is_read(here: Path):
    (here / "elasticnas.toml").write_text(FILE)
    configuration = Configuration.find()
    found = configuration.read(ServiceSettings)
    assert (found.redis_url, found.tick_seconds) == ("redis://queue:6379/0", 0.5)
    assert found.server_paths == [Path("/srv/models")]
    worker = read_worker_settings(configuration, found.data_dir)
    assert (worker.device, worker.token_budget) == ("cpu", 99)
    assert worker.cache_dir == Path("data/worker")


def test_the_file_that_the_environment_names_is_read_instead(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "elasticnas.toml").write_text("tick_seconds = 1\n")
    (here / "other.toml").write_text("tick_seconds = 2\n")
    monkeypatch.setenv("ELASTICNAS_CONFIG", "other.toml")
    assert Configuration.find().read(ServiceSettings).tick_seconds == 2


def test_the_environment_wins_over_the_file_and_an_option_over_both(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "elasticnas.toml").write_text(FILE)
    monkeypatch.setenv("ELASTICNAS_REDIS_URL", "redis://elsewhere/0")
    monkeypatch.setenv("ELASTICNAS_WORKER_TOKEN_BUDGET", "7")
    configuration = Configuration.find()
    assert configuration.read(ProcessSettings).redis_url == "redis://elsewhere/0"
    assert configuration.read(WorkerSettings).token_budget == 7
    given = {"redis_url": "redis://given/0", "alive_file": None}
    assert configuration.read(ProcessSettings, given).redis_url == "redis://given/0"
    origins = configuration.origins(ServiceSettings)
    assert origins["redis_url"] is Origin.ENVIRONMENT
    assert origins["tick_seconds"] is Origin.FILE
    assert origins["data_dir"] is Origin.DEFAULT


def test_what_servers_and_workers_must_agree_on_is_written_once(here: Path):
    (here / "elasticnas.toml").write_text("[worker]\nsilence_seconds = 7\n")
    configuration = Configuration.find()
    assert configuration.read(ServiceSettings).worker_silence_seconds == 7
    assert configuration.read(WorkerSettings).silence_seconds == 7
    (here / "elasticnas.toml").write_text("worker_silence_seconds = 7\n")
    with pytest.raises(InputError, match=r"did you mean worker\.silence_seconds"):
        Configuration.find()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ELASTICNAS_REDIS_URL", "")
    assert Configuration.find().read(ProcessSettings).redis_url is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tick_secs = 3", r"elasticnas.toml: tick_secs: .*\(found 3\).*tick_seconds"),
        ("[worker]\ntoken_bugdet = 3", r"worker.token_bugdet: .*worker.token_budget"),
        ("worker = 3", r"worker: .*\(found 3\); write \[worker\]"),
        ("[service]\ntick_seconds = 3", "elasticnas.toml: service: there is no such setting"),
        ("tick_seconds = 0", r"elasticnas.toml: tick_seconds: .*greater than 0 \(found 0\)"),
        ('redis_url = "queue"', r"redis_url: this is no URL of Redis.*\(found queue\)"),
        ('database_url = "mysql://a:secret@b/c"', r"found mysql://a:\*\*\*@b/c"),
        ('database_url = "nonsense"', "this is no URL of a database"),
        ("tick_seconds = ", "elasticnas.toml: this is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(here: Path, text: str, message: str):
    (here / "elasticnas.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        Configuration.find().read(ServiceSettings)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ELASTICNAS_TICK_SECONDS", "soon", r"ELASTICNAS_TICK_SECONDS: .*\(found soon\)"),
        ("ELASTICNAS_SERVER_PATHS", "/srv", r"ELASTICNAS_SERVER_PATHS: not JSON \(found /srv\)"),
        ("ELASTICNAS_CONFIG", "nowhere.toml", r"ELASTICNAS_CONFIG: .*\(found nowhere.toml\)"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=message):
        Configuration.find().read(ServiceSettings)


def test_a_wrong_option_is_named():
    with pytest.raises(InputError, match=r"--redis-url: .*\(found http://queue\)"):
        Configuration.find().read(ProcessSettings, {"redis_url": "http://queue"})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@queue:6379/0", "redis://:***@queue:6379/0"),
        ("postgresql+psycopg://nas:se/cr@t@db/nas", "postgresql+psycopg://nas:***@db/nas"),
        ("redis://queue/0?db=1&password=secret", "redis://queue/0?db=1&password=***"),
        ("http://minio:9000", "http://minio:9000"),
        ("postgresql+psycopg://nas@db/nas", "postgresql+psycopg://nas@db/nas"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str):
    assert masked(url) == shown


def test_the_listing_says_where_values_come_from_and_hides_passwords(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "elasticnas.toml").write_text('redis_url = "redis://:secret@queue/0"\n')
    monkeypatch.setenv("ELASTICNAS_TICK_SECONDS", "0.5")
    answer = elasticnas("settings", "--json", cwd=here)
    assert "secret" not in answer.stdout
    found = json.loads(answer.stdout)
    assert found["ELASTICNAS_REDIS_URL"]["value"] == "redis://:***@queue/0"
    assert found["ELASTICNAS_REDIS_URL"]["origin"] == "file"
    assert found["ELASTICNAS_TICK_SECONDS"]["origin"] == "environment"
    assert found["ELASTICNAS_WORKER_DEVICE"]["origin"] == "default"
    assert all(each["meaning"] for each in found.values())


def test_the_listing_names_for_each_setting_the_processes_that_read_it():
    found = json.loads(elasticnas("settings", "--json").stdout)
    readers = {name.removeprefix("ELASTICNAS_"): each["read_by"] for name, each in found.items()}
    assert readers["BLOBS_URL"] == readers["REDIS_URL"] == "server, coordinator, worker"
    assert readers["WORKER_SILENCE_SECONDS"] == "server, coordinator, worker"
    assert readers["DATABASE_URL"] == readers["TICK_SECONDS"] == "server, coordinator"
    assert readers["ALIVE_FILE"] == readers["NICENESS"] == "coordinator, worker"
    assert readers["ALLOW_HUB"] == readers["ORPHAN_GRACE_SECONDS"] == "server"
    assert readers["WORKER_TOKEN_BUDGET"] == "worker"
    fields = ServiceSettings.model_fields.keys()
    assert fields >= SERVER_ALONE | WITHOUT_A_PORT
    worker = json.loads(elasticnas("settings", "--worker", "--json").stdout)
    assert "ELASTICNAS_ALIVE_FILE" in worker
    assert "ELASTICNAS_ALLOW_HUB" not in worker


@pytest.mark.parametrize("process", ["serve", "coordinate", "worker", "settings"])
def test_every_process_refuses_a_wrong_file_in_one_line(here: Path, process: str):
    (here / "elasticnas.toml").write_text("tick_secs = 3\n")
    ended = elasticnas(process, cwd=here)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "elasticnas.toml: tick_secs: there is no such setting (found 3)" in ended.stderr


@pytest.mark.parametrize("process", ["coordinate", "worker"])
def test_a_process_that_needs_a_queue_says_how_to_name_it(here: Path, process: str):
    ended = elasticnas(process, cwd=here)
    assert ended.returncode == 2
    assert "ELASTICNAS_REDIS_URL" in ended.stderr
