"""Everything that is registered in this process, described for clients."""

from __future__ import annotations

import inspect
from importlib import metadata
from importlib.util import find_spec

from elasticnas.api_schemas.costs import TITLES, Cost, CostReport
from elasticnas.api_schemas.fields import MAX_NAME
from elasticnas.api_schemas.meta import (
    CostMeta,
    DatasetKindMeta,
    Formats,
    Limits,
    Meta,
    MetricMeta,
    RecipeMeta,
    Sources,
    StrategyMeta,
    TaskMeta,
)
from elasticnas.api_schemas.paging import MAX_PAGE
from elasticnas.api_schemas.plots import PictureFormat, PlotKind
from elasticnas.api_schemas.points import MAX_POINTS
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.recipes import RECIPES
from elasticnas.api_schemas.searches import (
    MAX_CONSTRAINTS,
    MAX_EVALUATIONS,
    MAX_INITIAL_SUBNETS,
    MAX_OBJECTIVES,
    MAX_PARALLEL_EVALUATIONS,
    MAX_SECONDS,
)
from elasticnas.api_schemas.strategies import STRATEGIES, ParetoSettings, StrategySettings
from elasticnas.api_schemas.weights import WeightsFormat
from elasticnas.service.archives import ARCHIVES
from elasticnas.service.datasets.files import FORMATS
from elasticnas.service.settings import ServiceSettings
from elasticnas.tasks import TASKS, Metric, Task
from elasticnas.tasks.kinds import KINDS


def describe(settings: ServiceSettings) -> Meta:
    """What this server is and can do."""
    return Meta(
        version=metadata.version("elasticnas"),
        limits=_limits(settings),
        sources=Sources(paths=bool(settings.server_paths), hub=settings.allow_hub),
        formats=Formats(
            archives=list(ARCHIVES),
            datasets=list(FORMATS),
            weights=list(WeightsFormat),
            pictures=list(PictureFormat),
        ),
        tasks=[_task(each) for each in TASKS.values()],
        dataset_kinds=[DatasetKindMeta(name=each.name, task=each.task) for each in KINDS.values()],
        costs=[_cost(each) for each in Cost],
        strategies=[_strategy(name) for name in STRATEGIES],
        recipes=[_recipe(name) for name in RECIPES],
        precisions=list(Precision),
        plots=list(PlotKind),
    )


def packages_missing(settings: StrategySettings | type[StrategySettings]) -> list[str]:
    """What a strategy needs and this process lacks."""
    return [name for name in settings.packages if find_spec(name) is None]


def _limits(settings: ServiceSettings) -> Limits:
    return Limits(
        max_upload_bytes=settings.max_upload_bytes,
        max_dataset_bytes=settings.max_dataset_bytes,
        max_dataset_rows=settings.max_dataset_rows,
        max_json_bytes=settings.max_json_bytes,
        max_evaluations=MAX_EVALUATIONS,
        max_seconds=MAX_SECONDS,
        max_objectives=MAX_OBJECTIVES,
        max_constraints=MAX_CONSTRAINTS,
        max_initial_subnets=MAX_INITIAL_SUBNETS,
        max_parallel_evaluations=MAX_PARALLEL_EVALUATIONS,
        max_page=MAX_PAGE,
        max_points=MAX_POINTS,
        max_name=MAX_NAME,
    )


def _task(task: Task) -> TaskMeta:
    return TaskMeta(
        name=task.name,
        metrics=[_metric(each) for each in task.metrics],
        default_metric=task.metrics[0].name,
        raced=None if task.raced is None else task.raced.name,
        is_learnt=task.is_learnt,
        settings=task.settings_type.model_json_schema(),
    )


def _metric(metric: Metric) -> MetricMeta:
    return MetricMeta(
        name=metric.name,
        better="larger" if metric.is_better_when_larger else "smaller",
        ideal=metric.ideal,
        worst=metric.worst,
        bound=metric.bound,
    )


def _cost(cost: Cost) -> CostMeta:
    field = CostReport.model_fields[cost]
    return CostMeta(
        name=cost,
        title=TITLES[cost],
        description=field.description or "",
        bound=f"max_{cost}",
    )


def _strategy(name: str) -> StrategyMeta:
    settings = STRATEGIES[name]
    return StrategyMeta(
        name=name,
        description=inspect.getdoc(settings) or "",
        is_default=settings is ParetoSettings,
        settings=settings.model_json_schema(),
        missing=packages_missing(settings),
    )


def _recipe(name: str) -> RecipeMeta:
    recipe = RECIPES[name]
    return RecipeMeta(
        name=name,
        description=inspect.getdoc(recipe.settings) or "",
        steps=list(recipe.steps),
        settings=recipe.settings.model_json_schema(),
    )
