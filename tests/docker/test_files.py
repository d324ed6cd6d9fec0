"""What can be said of the Docker files without a Docker engine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from elasticnas.service.settings import ServiceSettings
from tests.docker import compose
from tests.docker.compose import ROOT

GIVEN = dict.fromkeys(compose.SECRETS, "0123456789abcdef")
SERVICES: dict[str, dict[str, Any]] = compose.read(GIVEN)["services"]
ONE_SHOT = {"bucket", "preflight"}
OURS = {name for name, each in SERVICES.items() if each["image"].startswith(compose.IMAGE)}
ROOMS = {marker.parent.name for marker in ROOT.glob("*/py.typed")}
NOT_INSTALLED = {"tests", "benchmarks"}


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).parent / program
    return subprocess.run(
        [beside if beside.exists() else program, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_compose_file_is_one_by_the_compose_specification(tmp_path: Path):
    """check-jsonschema carries the specification's own schema."""
    schema = ("--builtin-schema", "vendor.compose-spec")
    found = run("check-jsonschema", *schema, "docker-compose.yml")
    assert found.returncode == 0, found.stdout
    wrong = tmp_path / "docker-compose.yml"
    text = (ROOT / "docker-compose.yml").read_text()
    wrong.write_text(text.replace("stop_grace_period", "stop_grace_periods"))
    assert run("check-jsonschema", *schema, wrong).returncode == 1


def test_the_dockerfile_passes_hadolint():
    found = run("hadolint", "docker/Dockerfile")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert name in OURS or not service["user"].startswith("0")


def test_our_image_runs_as_an_ordinary_user():
    assert re.findall(r"^USER (\S+)$", compose.dockerfile(), re.MULTILINE) == ["10001:10001"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_long_running_service_has_a_health_check_and_time_to_stop(name: str):
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["stop_grace_period"]


@pytest.mark.parametrize("name", SERVICES)
def test_who_depends_on_another_waits_for_the_right_thing(name: str):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        done = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == done


def test_every_image_is_pinned():
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^ARG PYTHON=(.+)$", compose.dockerfile(), re.MULTILINE)
    for image in images:
        assert not image.startswith("minio/")  # gone from the registry
        assert re.search(r"\d+\.\d+|\d{4}-\d\d-\d\d", image), image
        assert "latest" not in image


def test_workers_cannot_reach_the_database():
    for name in ("worker", "worker-gpu"):
        assert "database" not in SERVICES[name]["networks"]
        assert not any("postgres" in value for value in SERVICES[name]["environment"].values())
    assert SERVICES["postgres"]["networks"] == ["database"]


def test_one_service_builds_each_image_and_all_that_have_it_wait_for_that_one():
    builders: dict[str, list[str]] = {}
    for name in OURS:
        assert SERVICES[name]["pull_policy"] == "never", name
        if "build" in SERVICES[name]:
            builders.setdefault(SERVICES[name]["image"], []).append(name)
    assert {image: len(names) for image, names in builders.items()} == {
        SERVICES[name]["image"]: 1 for name in OURS
    }

    def waits_for(name: str) -> set[str]:
        others = set(SERVICES[name].get("depends_on", {}))
        return others.union(*map(waits_for, others))

    for name in OURS:
        (builder,) = builders[SERVICES[name]["image"]]
        assert builder in waits_for(name) | {name}, name
    assert all(
        "preflight" in waits_for(name) for name in set(SERVICES) - {"preflight", "prometheus"}
    )


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"prometheus"}))
def test_memory_and_logs_have_limits(name: str):
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])
    options = SERVICES[name]["logging"]["options"]
    assert options.keys() == {"max-size", "max-file"}


def test_a_coordinator_restarts_and_another_stands_by():
    assert SERVICES["coordinator"]["restart"] == "unless-stopped"
    assert SERVICES["coordinator"]["deploy"]["replicas"] >= 2


def test_the_root_keys_are_where_they_must_be_and_nowhere_else():
    given = {name: f"the-value-of-{name}" for name in compose.SECRETS}
    services = compose.read(given)["services"]

    def holders(secret: str) -> set[str]:
        return {name for name, each in services.items() if given[secret] in str(each)}

    assert holders("S3_ROOT_SECRET") == {"preflight", "seaweedfs", "bucket"}
    assert holders("POSTGRES_PASSWORD") == {"preflight", "postgres"}
    workers = {"worker", "worker-gpu"}
    assert holders("DATABASE_PASSWORD").isdisjoint(workers)
    for name, service in services.items():
        command = str(service.get("command", "")) + str(service.get("entrypoint", ""))
        assert not [secret for secret in given.values() if secret in command], name


def test_no_kind_of_process_writes_what_another_reads():
    folders = [
        volume.partition(":")[0]
        for name in OURS - ONE_SHOT
        for volume in SERVICES[name].get("volumes", [])
    ]
    assert len(folders) == len(set(folders)) == len(OURS - ONE_SHOT)
    runtime = compose.dockerfile().split(" AS runtime")[1].split("\nFROM ")[0]
    workdir = re.search(r"^WORKDIR (\S+)$", runtime, re.MULTILINE)
    assert workdir is not None
    assert f"install -d -o root -g root {workdir[1]}\n" in runtime
    writable = [*re.findall(r"^VOLUME (\S+)$", runtime, re.MULTILINE), "/tmp"]
    assert not any(Path(workdir[1]).is_relative_to(folder) for folder in writable)


def test_the_hub_is_reached_where_the_operator_allows_it():
    _, environment = compose.image()
    assert not environment.keys() & {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
    allowed = compose.read(GIVEN | {"ELASTICNAS_ALLOW_HUB": "true"})["services"]["api"]
    assert allowed["environment"]["ELASTICNAS_ALLOW_HUB"] is True
    assert "HF_HUB_OFFLINE" not in allowed["environment"]
    assert "edge" in allowed["networks"]
    assert SERVICES["api"]["environment"]["ELASTICNAS_ALLOW_HUB"] is False
    assert SERVICES["worker"]["environment"]["HF_HUB_OFFLINE"] == "1"
    assert Path(environment["HF_HOME"]).is_relative_to("/data")


@pytest.mark.parametrize("name", compose.SECRETS)
def test_a_missing_secret_is_told(name: str):
    for given in ({k: v for k, v in GIVEN.items() if k != name}, GIVEN | {name: ""}):
        with pytest.raises(compose.MissingVariableError, match=rf"{name} .*\.env\.example"):
            compose.read(given)


def test_the_command_in_the_example_makes_a_file_with_a_secret_in_each_place(tmp_path: Path):
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env.example").write_text(text)
    (command,) = re.findall(r"^#\s+(\(umask .*\))$", text, re.MULTILINE)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    made = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines())
    assert list(made) == compose.SECRETS
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in made.values())
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert compose.read(made)


def test_no_secret_is_written_in_the_files():
    text = (ROOT / "docker-compose.yml").read_text()
    for found in re.findall(
        r"^\s+(?:\w+_PASSWORD|\w+_SECRET\w*|REDISCLI_AUTH): (\S+)", text, re.MULTILINE
    ):
        assert found.startswith("${"), found
    assert not re.findall(r"://\w*:[^$@\s]+@", text)
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored


def test_the_lock_holds_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "docker" / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9.-]+)==([^ \\]+)", lock, re.MULTILINE))
    extras = project["optional-dependencies"]
    for asked in project["dependencies"] + extras["server"] + extras["worker"]:
        name, version = re.sub(r"\[.*\]", "", asked).lower().replace("_", "-").split("==")
        assert pinned[name] == version, f"{name}: run `make lock`"
    torch = (ROOT / "docker" / "torch-cpu.lock").read_text()
    assert f"\ntorch=={pinned['torch']}+cpu \\\n    --hash=sha256:" in torch, (
        "run `make lock-torch`"
    )
    assert "setuptools" in pinned  # the images build without reaching for another


def test_every_package_of_the_images_is_checked_by_its_hash():
    installs = re.findall(r"pip install ([^&\n]*)", compose.dockerfile())
    assert len(installs) == 5
    for arguments in installs:
        assert "--require-hashes" in arguments or arguments.split()[-1] == "/src"


def test_every_import_of_the_product_is_a_dependency_that_pyproject_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = [name for names in project["optional-dependencies"].values() for name in names]
    named = {plain(re.split(r"[\[=]", each)[0]) for each in project["dependencies"] + extra}
    providers = metadata.packages_distributions()
    missing = {}
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for module in imported(file) - {"elasticnas"} - set(sys.stdlib_module_names):
            if not {plain(each) for each in providers.get(module, [module])} & named:
                missing[module] = str(file.relative_to(ROOT))
    assert missing == {}


def imported(file: Path) -> set[str]:
    """The top-level modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def plain(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_cpu_image_leaves_out_what_is_for_cuda():
    found = re.search(r"awk '([^']+)'", compose.dockerfile())
    assert found is not None
    kept = subprocess.run(
        ["awk", found[1], ROOT / "docker" / "requirements.lock"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = re.findall(r"^([a-z0-9.-]+)==", kept, re.MULTILINE)
    assert "transformers" in names
    assert not [name for name in names if name.startswith(("torch", "triton", "nvidia", "cuda"))]
    every_entry = re.split(r"\n(?=[a-z])", kept)
    assert all("--hash=sha256:" in entry for entry in every_entry if not entry.startswith("#"))


def test_every_room_of_the_house_is_in_the_images():
    """They install the rooms that setup.py finds, in everything that .dockerignore leaves."""
    assert {file.parent.name for file in ROOT.glob("*/__init__.py")} - NOT_INSTALLED == ROOMS
    source = compose.dockerfile().split(" AS source")[1].split("\nFROM ")[0]
    assert "\nCOPY . .\n" in source
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    for kept in (*ROOMS, "pyproject.toml", "setup.py", "README.md", "docker"):
        assert not any(fnmatch(kept, pattern) for pattern in left_out), kept
    assert any(fnmatch(".env", pattern) for pattern in left_out)


def test_prometheus_scrapes_services_of_the_file():
    jobs = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())["scrape_configs"]
    hosts = {
        target.split(":")[0]
        for job in jobs
        for static in job["static_configs"]
        for target in static["targets"]
    }
    assert hosts <= {*SERVICES, "127.0.0.1"}


def test_the_kubernetes_sketch_is_yaml_and_keeps_the_rules():
    text = (ROOT / "docs" / "scaling.md").read_text()
    (sketch,) = re.findall(r"^```yaml\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    objects = {
        (each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(sketch)
    }
    settings = tomllib.loads(objects["ConfigMap", "elasticnas"]["data"]["elasticnas.toml"])
    assert settings.keys() <= ServiceSettings.model_fields.keys()
    for name in ("api", "coordinator", "worker"):
        pod = objects["Deployment", f"elasticnas-{name}"]["spec"]["template"]["spec"]
        assert pod["enableServiceLinks"] is False
        assert pod["terminationGracePeriodSeconds"] >= 60
        assert pod["securityContext"]["runAsUser"] == 10001
        (container,) = pod["containers"]
        assert container["image"].startswith("elasticnas:0.1.0")
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "livenessProbe" in container
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }
        secrets = {source["secretRef"]["name"] for source in container["envFrom"]}
        assert ("elasticnas-database" in secrets) == (name != "worker")
