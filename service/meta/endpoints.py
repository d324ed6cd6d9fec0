"""``/v1/meta``."""

from __future__ import annotations

from fastapi import APIRouter

from elasticnas.api_schemas.meta import Meta
from elasticnas.service.meta.description import describe
from elasticnas.service.runtime import ServiceDep

router = APIRouter(prefix="/v1/meta", tags=["operations"])


@router.get("", summary="What this server is and can do")
def read_meta(service: ServiceDep) -> Meta:
    """Version, limits, formats, tasks with their metrics, costs, strategies and recipes.

    The settings of each task, strategy and recipe come as JSON Schema. What plugins have registered
    is among them.
    """
    return describe(service.settings)
