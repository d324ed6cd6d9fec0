"""The conditions under which a search's subnets are measured."""

from __future__ import annotations

from typing import Any

from elasticnas.api_schemas.conditions import Conditions, FineTuning, TrainingStart
from elasticnas.api_schemas.finetuning import FinetuneSettings
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.verification import RowSplit
from elasticnas.service.searches.tables import SearchRow


def conditions_of(row: SearchRow) -> Conditions:
    """Under which its evaluations are made."""
    share = row.verify_share
    return Conditions(
        supernet=row.supernet_digest,
        dataset=row.dataset_digest,
        task=row.task,
        settings=row.request.get("task_settings") or {},
        max_length=row.max_length,
        split=RowSplit(share=share, part="search") if share else None,
        precision=Precision(row.precision or Precision.FLOAT32),
        fine_tuning=_fine_tuning_of(row),
    )


def _fine_tuning_of(row: SearchRow) -> FineTuning | None:
    if row.train_dataset_digest is None:
        return None
    told: dict[str, Any] = row.request["evaluation"]["fine_tune"]
    settings = {
        name: value for name, value in told.items() if name in FinetuneSettings.model_fields
    }
    start = TrainingStart(told.get("start", TrainingStart.SUPERNET))
    return FineTuning(rows=row.train_dataset_digest, settings=settings, start=start)


def verifying_conditions_of(row: SearchRow) -> Conditions:
    """Under which its front is verified: on the rows set aside, or those of another dataset."""
    share = row.verify_share
    return conditions_of(row).model_copy(
        update={
            "dataset": row.verify_dataset_digest or row.dataset_digest,
            "split": RowSplit(share=share, part="verification") if share else None,
        }
    )
