"""The formats of checkpoints that are read: one file for each."""

from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import Registry
from elasticnas.supernet.formats.eftnas import EFTNAS
from elasticnas.supernet.formats.elasticnas import ELASTICNAS
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.lonas import LONAS
from elasticnas.supernet.formats.shears import SHEARS
from elasticnas.supernet.formats.space_file import SPACE_FILE
from elasticnas.supernet.formats.sqft import SQFT

FORMATS = Registry[Format]("format")
for each in (ELASTICNAS, LONAS, SHEARS, SQFT, EFTNAS):
    FORMATS.register(each.name, each)


def format_of(folder: Path) -> Format:
    """The format of a checkpoint's folder.

    Raises:
        InputError: none recognises it, or there are several files that say what is elastic, of
            one format or of more.
    """
    marks = [(known, file) for known in FORMATS.values() for file in known.marks(folder)]
    if not marks:
        files = ", ".join(f"{known.files[0]} ({known.name})" for known in FORMATS.values())
        raise InputError(
            "the checkpoint has no search space", field=SPACE_FILE, remedy=f"add one of {files}"
        )
    if len(marks) > 1:
        raise InputError(
            "several files say what is elastic",
            field=marks[0][1],
            value=", ".join(f"{file} ({known.name})" for known, file in marks),
            remedy="keep the one whose space is to be searched, and take the others out",
        )
    return marks[0][0]
