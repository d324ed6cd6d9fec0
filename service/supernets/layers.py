"""``/v1/supernets/{id}``: its layers, what subnets cost, what constraints leave."""

from __future__ import annotations

from fastapi import APIRouter

from elasticnas.api_schemas.costs import CostModel, CostsRead, CostsRequest, PricedSubnet
from elasticnas.api_schemas.feasibility import FeasibilityRead, FeasibilityRequest
from elasticnas.api_schemas.fields import Identity
from elasticnas.api_schemas.model_dicts import ModelDictRequest
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import Constraint
from elasticnas.api_schemas.spaces import LayersRead, SubnetAsked
from elasticnas.search.feasibility import feasibility
from elasticnas.search.model_dict import subnet_of
from elasticnas.service.http.problems import documented
from elasticnas.service.http.routing import StrictRoute
from elasticnas.service.principal import Principal, PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.supernets import repository, views
from elasticnas.service.supernets.endpoints import require_length
from elasticnas.service.supernets.report_cache import ReportedSupernet

router = APIRouter(prefix="/v1/supernets", tags=["super-networks"], route_class=StrictRoute)


@router.get(
    "/{supernet_id}/layers",
    summary="The layers",
    responses=documented("not-found", "supernet-not-ready"),
)
def read_layers(supernet_id: Identity, service: ServiceDep, principal: PrincipalDep) -> LayersRead:
    """Of each layer its dimensions, and whether subnets may leave attention or FFN out."""
    return _ready(service, principal, supernet_id).layered.read()


@router.post(
    "/{supernet_id}/costs",
    summary="What many subnets cost",
    responses=documented("not-found", "supernet-not-ready", "invalid-input"),
)
def price_subnets(
    supernet_id: Identity, body: CostsRequest, service: ServiceDep, principal: PrincipalDep
) -> CostsRead:
    """As `POST …/cost` says of one; with `per_layer`, layer by layer."""
    supernet = _ready(service, principal, supernet_id)
    length = _length(supernet, body.max_length)
    return CostsRead(
        max_length=length,
        items=[
            _priced(supernet, asked, f"subnets/{index}", length, per_layer=body.per_layer)
            for index, asked in enumerate(body.subnets)
        ],
    )


@router.post(
    "/{supernet_id}/model-dict",
    summary="A published architecture as a subnet",
    responses=documented("not-found", "supernet-not-ready", "invalid-input"),
)
def price_model_dict(
    supernet_id: Identity, body: ModelDictRequest, service: ServiceDep, principal: PrincipalDep
) -> PricedSubnet:
    """Which subnet has the layers of a FlexiBERT ``modelDict``, and what it costs.

    Its `subnet` is one of the `initial_subnets` that a search may evaluate, or train, first. Heads
    are counted, and have the super-network's size.
    """
    supernet = _ready(service, principal, supernet_id)
    length = _length(supernet, body.max_length)
    subnet = subnet_of(body.model_dict, supernet.space)
    return PricedSubnet(subnet=dict(subnet), cost=supernet.cost(subnet, length))


@router.post(
    "/{supernet_id}/feasibility",
    summary="What constraints leave of the space",
    responses=documented("not-found", "supernet-not-ready", "invalid-input"),
)
def read_feasibility(
    supernet_id: Identity, body: FeasibilityRequest, service: ServiceDep, principal: PrincipalDep
) -> FeasibilityRead:
    """The share of the subnets that satisfy them, and between which ends costs lie.

    Counted in a small space, else estimated by a sample; the same request has the same answer.
    """
    supernet = _ready(service, principal, supernet_id)
    model = supernet.report.cost_model
    _require_known(body.constraints, model)
    return feasibility(supernet.space, model, _length(supernet, body.max_length), body)


def _ready(service: Service, principal: Principal, supernet_id: str) -> ReportedSupernet:
    with service.database.read() as session:
        views.require_ready(repository.found(session, principal, supernet_id))
        return service.reports.get(session, supernet_id)


def _length(supernet: ReportedSupernet, asked: int | None) -> int:
    length = asked or supernet.report.reference_length
    require_length(length, supernet.report.max_positions)
    return length


def _priced(
    supernet: ReportedSupernet, asked: SubnetAsked, field: str, length: int, *, per_layer: bool
) -> PricedSubnet:
    subnet = supernet.space.subnet(asked, field=field)
    priced = PricedSubnet(subnet=dict(subnet), cost=supernet.cost(subnet, length))
    if per_layer:
        priced.layers = supernet.layered.of(subnet, length)
        priced.rest = supernet.layered.rest(subnet, length)
    return priced


def _require_known(constraints: list[Constraint], model: CostModel) -> None:
    for index, each in enumerate(constraints):
        if each.cost not in model.costs:
            raise InputError(
                "this cost is not known of the super-network",
                field=f"constraints/{index}/cost",
                value=each.cost.value,
                remedy=f"choose from {', '.join(model.costs)}",
            )
