"""What a worker does with a large checkpoint, a step a process, so that its memory can be watched.

``python -m tests.supernet.large_step STEP CHECKPOINT ROWS PRECISION ARCHIVE``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.export import export_subnet
from elasticnas.supernet.report import report
from elasticnas.worker.evaluator import SubnetAsked
from elasticnas.worker.isolation import Measurement, evaluator_of


def register(checkpoint: Path, *_: object) -> object:
    """All that a registration asks of a worker."""
    return report(read_supernet(checkpoint)).model_type


def evaluate(checkpoint: Path, rows: Path, precision: Precision, _: Path) -> object:
    """The maximal subnet and the minimal one, by log-likelihood."""
    measurement = Measurement(
        checkpoint=checkpoint,
        dataset=rows,
        conditions=Conditions(
            supernet="large",
            dataset="rows",
            task="multiple-choice",
            settings={"prompt": "{question}"},
            max_length=64,
            precision=precision,
        ),
        pilots=(),
        asked=SubnetAsked({}),
        device="cpu",
        token_budget=1024,
        memory_bytes=6 * 2**30,
        limit_seconds=3600,
    )
    evaluator = evaluator_of(measurement)
    space = evaluator.supernet.space
    found = [
        evaluator.measure(SubnetAsked(dict(subnet)), lambda: False, share=False).metrics
        for subnet in (space.maximal, space.minimal)
    ]
    return {"metrics": found, "unmerged": len(evaluator.supernet.unmerged)}


def export(checkpoint: Path, _: Path, __: Precision, archive: Path) -> object:
    """The minimal subnet merged, as an archive."""
    supernet = read_supernet(checkpoint)
    card = SubnetCard(
        supernet_name="large",
        dataset_name="rows",
        dataset_rows=20,
        search_id="s",
        number=1,
        metrics={},
        cost={},
        max_length=64,
    )
    subnet, kind = supernet.space.minimal, WeightsFormat.TRANSFORMERS
    export_subnet(supernet, subnet, card, kind, archive=archive, folder="subnet")
    return archive.stat().st_size


if __name__ == "__main__":
    step = {"register": register, "evaluate": evaluate, "export": export}[sys.argv[1]]
    checkpoint, rows, precision, archive = sys.argv[2:]
    print(json.dumps(step(Path(checkpoint), Path(rows), Precision(precision), Path(archive))))
