"""The ids that commands take as arguments."""

from __future__ import annotations

from typing import Annotated

import typer

SupernetId = Annotated[str, typer.Argument(metavar="SUPERNET", help="The super-network's id.")]
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's id.")]
SearchId = Annotated[str, typer.Argument(metavar="SEARCH", help="The search's id.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
