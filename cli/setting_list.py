"""What each process reads, from where, and what it means."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic_settings import BaseSettings

from elasticnas.cli.configuration import Configuration, read_worker_settings, variable
from elasticnas.client.passwords import masked
from elasticnas.service.blobs.settings import BlobSettings
from elasticnas.service.settings import ProcessSettings, ServiceSettings

SERVERS = "server, coordinator"
WORKERS = "worker"
EVERYBODY = f"{SERVERS}, {WORKERS}"

SERVER_ALONE = frozenset(
    {
        *("coordinate", "max_upload_bytes", "max_unpacked_bytes", "max_archive_files"),
        *("max_dataset_bytes", "max_dataset_rows", "max_json_bytes", "server_paths", "allow_hub"),
        *("inspection_timeout_seconds", "orphan_grace_seconds", "orphan_interval_seconds"),
        *("stop_grace_seconds", "trained_weights_bytes"),
    }
)
"""What only a process that answers requests reads."""

WITHOUT_A_PORT = frozenset({"alive_file", "niceness"})
"""What only a process that answers no requests reads."""


class Setting(NamedTuple):
    """One line of the listing."""

    variable: str
    value: Any
    origin: str
    read_by: str
    meaning: str


def every_setting(configuration: Configuration) -> list[Setting]:
    """All settings of all processes, as a process with this configuration reads them."""
    service = configuration.read(ServiceSettings)
    found = _listed(configuration, service)
    for each in _listed(configuration, read_worker_settings(configuration, service.data_dir)):
        names = [other.variable for other in found]
        if each.variable in names:
            index = names.index(each.variable)
            found[index] = found[index]._replace(read_by=EVERYBODY)
        else:
            found.append(each)
    return found


def _listed(configuration: Configuration, current: BaseSettings) -> list[Setting]:
    kind = type(current)
    origins = configuration.origins(kind)
    found = []
    for name, value in current.model_dump(mode="json").items():
        found.append(
            Setting(
                variable(kind, name),
                masked(value) if isinstance(value, str) else value,
                origins[name],
                _readers(name) if isinstance(current, ServiceSettings) else WORKERS,
                kind.model_fields[name].description or "",
            )
        )
    return found


def _readers(name: str) -> str:
    """Which processes read a field of `ServiceSettings`."""
    if name in SERVER_ALONE:
        return "server"
    if name in WITHOUT_A_PORT:
        return f"coordinator, {WORKERS}"
    everybody = name in BlobSettings.model_fields or name in ProcessSettings.model_fields
    return EVERYBODY if everybody else SERVERS
