"""A subnet's weights as one zip file of one folder."""

from __future__ import annotations

import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.export.onnx_folder import require_onnx, write_onnx_folder
from elasticnas.supernet.export.peft_adapter import write_peft_adapter
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.supernet import Supernet

_EPOCH = (2020, 1, 1, 0, 0, 0)
"""Every member's time stamp, so that one subnet always gives one and the same archive."""


def written_bytes(archive: Path) -> int:
    """How many bytes there are already of the files that `export_subnet` puts into an archive."""
    total = 0
    for path in _folder_of(archive).glob("*"):
        with suppress(FileNotFoundError):  # it is done meanwhile
            total += path.stat().st_size
    return total


def _folder_of(archive: Path) -> Path:
    return archive.with_suffix(".folder")


def require_packages(weights_format: WeightsFormat) -> None:
    """Have the packages that a format needs beside a worker's own.

    Raises:
        InputError: one is not installed.
    """
    if weights_format is WeightsFormat.ONNX:
        require_onnx()


def export_subnet(
    supernet: Supernet,
    subnet: SubnetConfig,
    card: SubnetCard,
    weights_format: WeightsFormat,
    *,
    archive: Path,
    folder: str,
) -> Path:
    """Write ``archive``, a zip whose members lie in ``folder``; returns its path.

    The super-network must be as it was read, for the weights are written as they are.

    Raises:
        InputError: this subnet cannot be had in this format (see `write_peft_adapter` and
            `write_onnx_folder`).
    """
    write = {
        WeightsFormat.TRANSFORMERS: write_transformers_folder,
        WeightsFormat.PEFT: write_peft_adapter,
        WeightsFormat.ONNX: write_onnx_folder,
    }[weights_format]
    building = _folder_of(archive)
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        write(supernet, subnet, card, building)
        with zipfile.ZipFile(archive, "w", compression=zipfile.ZIP_STORED) as zipped:
            for path in sorted(building.iterdir()):
                info = zipfile.ZipInfo(f"{folder}/{path.name}", date_time=_EPOCH)
                info.external_attr = 0o644 << 16
                with path.open("rb") as source, zipped.open(info, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                path.unlink()  # no two copies of all weights lie on the disk
    except BaseException:
        archive.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return archive
