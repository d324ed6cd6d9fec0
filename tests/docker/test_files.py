"""What can be said of the Docker files without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import ServiceSettings
from tests.docker import compose
from tests.docker.compose import ROOT

EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text().splitlines()
    if line and not line.startswith("#")
)
SERVICES: dict[str, dict[str, Any]] = compose.read(EXAMPLE)["services"]
ONE_SHOT = {"bucket", "objects"}
OURS = {name for name, each in SERVICES.items() if each["image"].startswith("elasticnas:")}


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / program, *map(str, arguments)],
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
        assert re.search(r"\d+\.\d+|\d{4}-\d\d-\d\d", image), image
        assert "latest" not in image


def test_workers_cannot_reach_the_database():
    for name in ("worker", "worker-gpu"):
        assert "database" not in SERVICES[name]["networks"]
        assert not any("postgres" in value for value in SERVICES[name]["environment"].values())
    assert SERVICES["postgres"]["networks"] == ["database"]


@pytest.mark.parametrize("name", EXAMPLE)
def test_a_missing_secret_is_told(name: str):
    given = {k: v for k, v in EXAMPLE.items() if k != name}
    with pytest.raises(compose.MissingVariableError, match=rf"{name} .*\.env\.example"):
        compose.read(given)


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
    for asked in project["dependencies"]:
        name, version = re.sub(r"\[.*\]", "", asked).lower().replace("_", "-").split("==")
        assert pinned[name] == version, f"{name}: run `make lock`"
    assert f"ARG TORCH={pinned['torch']}\n" in compose.dockerfile()
    assert "setuptools" in pinned  # the images build without reaching for another


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


def test_the_images_are_built_from_all_packages():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())
    find = packages["tool"]["setuptools"]["packages"]["find"]["include"]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for package in (name.removesuffix("*") for name in find):
        assert f"COPY {package} {package}\n" in compose.dockerfile()
        assert f"!{package}" in ignored


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
    (sketch,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
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
