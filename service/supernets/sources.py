"""Where a checkpoint comes from: an upload, a path of the server, the hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from elasticnas.api_schemas.jobs import TrainingFromHub, TrainingFromPath
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.supernets import SupernetFromHub, SupernetFromPath
from elasticnas.service.archives import UnpackLimits, checkpoint_root, copy_folder, unpack
from elasticnas.service.http.errors import validation_problem
from elasticnas.service.http.json_body import parse_json
from elasticnas.service.http.problems import ProblemError, refuse
from elasticnas.service.settings import ServiceSettings

CHUNK = 1 << 20

Source = Callable[[Path], Path]
"""Puts a checkpoint below an empty folder and returns the checkpoint's own folder."""

FromPath = TypeVar("FromPath", SupernetFromPath, TrainingFromPath)
FromHub = TypeVar("FromHub", SupernetFromHub, TrainingFromHub)
Asked = TypeVar("Asked", bound=BaseModel)


def of_json(
    body: bytes, path: type[FromPath], hub: type[FromHub], settings: ServiceSettings
) -> tuple[FromPath | FromHub, Source]:
    """What a JSON body asks for, and the checkpoint that it names.

    Raises:
        ProblemError: it is neither of the two kinds of request.
    """
    content = parse_json(body)
    if isinstance(content, dict) and "hub_id" in content:
        from_the_hub = validated(hub, content)
        return from_the_hub, partial(from_hub, from_the_hub, settings=settings)
    at_a_path = validated(path, content)
    return at_a_path, partial(from_path, at_a_path, settings=settings)


def validated(model: type[Asked], content: object) -> Asked:
    """The request that a JSON value is.

    Raises:
        ProblemError: it is none; the problem names the fields at fault.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise ProblemError(validation_problem(found, model)) from error


def limits(settings: ServiceSettings) -> UnpackLimits:
    """How large a checkpoint may be."""
    return UnpackLimits(files=settings.max_archive_files, size=settings.max_unpacked_bytes)


def from_upload(upload: BinaryIO, workspace: Path, settings: ServiceSettings) -> Path:
    """The checkpoint in an uploaded archive, unpacked below ``workspace``."""
    archive = workspace / "archive"
    with archive.open("wb") as sink:
        shutil.copyfileobj(upload, sink, CHUNK)
    folder = _unpacked(workspace)
    root = unpack(archive, folder, limits(settings))
    archive.unlink()
    return root


def from_path(
    source: SupernetFromPath | TrainingFromPath, workspace: Path, settings: ServiceSettings
) -> Path:
    """The checkpoint at a path of the server, copied below ``workspace``.

    Raises:
        ProblemError: 403 when the path is outside the folders that the operator allows.
        InputError: there is nothing at the path.
    """
    path = Path(source.path).resolve()
    if not any(path.is_relative_to(root.resolve()) for root in settings.server_paths):
        raise refuse(
            "source-not-allowed",
            f"path: {source.path} is in none of the folders that this server may read from; its "
            "operator sets them with ELASTICNAS_SERVER_PATHS",
        )
    if not path.exists():
        raise InputError("there is nothing at this path", field="path", value=source.path)
    folder = _unpacked(workspace)
    if path.is_dir():
        return copy_folder(path, folder, limits(settings))
    return unpack(path, folder, limits(settings))


def from_hub(
    source: SupernetFromHub | TrainingFromHub, workspace: Path, settings: ServiceSettings
) -> Path:
    """A repository of the hub at one commit, downloaded below ``workspace``.

    Raises:
        ProblemError: 403 when the operator does not allow the hub.
        InputError: the repository or the revision does not exist, or the hub does not answer.
    """
    if not settings.allow_hub:
        raise refuse(
            "source-not-allowed",
            "hub_id: this server takes nothing from the hub; its operator allows it with "
            "ELASTICNAS_ALLOW_HUB",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    download = workspace / "download"
    named = f"{source.hub_id}@{source.revision}"
    try:
        snapshot_download(source.hub_id, revision=source.revision, local_dir=download)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError("the hub has no such revision", field="hub_id", value=named) from error
    except (HfHubHTTPError, OSError) as error:
        raise InputError(f"the hub did not answer: {error}", field="hub_id", value=named) from error
    shutil.rmtree(download / ".cache", ignore_errors=True)  # the downloader's own bookkeeping
    return checkpoint_root(copy_folder(download, _unpacked(workspace), limits(settings)))


def _unpacked(workspace: Path) -> Path:
    folder = workspace / "checkpoint"
    folder.mkdir()
    return folder
