"""The formats of checkpoints that are read: one file for each."""

from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import Registry
from elasticnas.supernet.formats.elasticnas import ELASTICNAS
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.lonas import LONAS

FORMATS = Registry[Format]("format")
for each in (ELASTICNAS, LONAS):
    FORMATS.register(each.name, each)


def format_of(folder: Path) -> Format:
    """The first format that recognises a checkpoint's folder.

    Raises:
        InputError: none does.
    """
    for known in FORMATS.values():
        if known.recognises(folder):
            return known
    files = ", ".join(f"{known.file} ({known.name})" for known in FORMATS.values())
    raise InputError(
        "the checkpoint has no search space", field=ELASTICNAS.file, remedy=f"add one of {files}"
    )
