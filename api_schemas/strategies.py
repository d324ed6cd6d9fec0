"""The settings of each search strategy, validated by name."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from elasticnas.api_schemas.registry import Registry

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=1e-6, le=1e6)]


class StrategySettings(BaseModel):
    """The settings of one strategy; ``name`` is a literal, which says of which."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    packages: ClassVar[tuple[str, ...]] = ()
    """What must be installed where a search is driven, beside what every server has."""

    name: str

    def within(self, evaluations: int) -> Self:
        """These settings, suited to a budget of so many evaluations."""
        del evaluations
        return self


class RandomSettings(StrategySettings):
    """Uniform sampling; under constraints of the feasible subnets."""

    name: Literal["random"] = "random"


class _GeneticSettings(StrategySettings):
    population_size: Annotated[int, Field(ge=4, le=1000)] = 40
    crossover: Literal["uniform", "ordinal", "layer", "sbx", "blx_alpha", "v_sbx"] = Field(
        default="uniform",
        description="ordinal: any choice from one parent's to the other's; layer: the first layers "
        "of one parent, the rest of the other; the others as in Optuna",
    )
    crossover_prob: Probability = 0.9
    swapping_prob: Probability = 0.5
    mutation_prob: Probability | None = Field(
        default=None, description="per dimension; None means 1 / number of dimensions"
    )


class Nsga2Settings(_GeneticSettings):
    """NSGA-II (Deb et al. 2002), Optuna's sampler."""

    name: Literal["nsga2"] = "nsga2"


class Nsga3Settings(_GeneticSettings):
    """NSGA-III (Deb & Jain 2014), Optuna's sampler."""

    name: Literal["nsga3"] = "nsga3"
    dividing_parameter: Annotated[int, Field(ge=1, le=100)] = 3


class TpeSettings(StrategySettings):
    """Multi-objective tree-structured Parzen estimator (Ozaki et al. 2022), Optuna's sampler."""

    name: Literal["tpe"] = "tpe"
    n_startup_trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    n_ei_candidates: Annotated[int, Field(ge=1, le=1000)] = 24
    multivariate: bool = True


class GpSettings(StrategySettings):
    """Gaussian process with log expected hypervolume improvement, Optuna's sampler.

    The costs are learned like the metrics, and a proposal takes a second or more.
    """

    packages: ClassVar[tuple[str, ...]] = ("torch",)

    name: Literal["gp"] = "gp"
    n_startup_trials: Annotated[int, Field(ge=1, le=10_000)] = 20


class LinasSettings(StrategySettings):
    """DyNAS-T's predictor loop (Cummings et al. 2022)."""

    name: Literal["linas"] = "linas"
    population_size: Annotated[int, Field(ge=4, le=1000)] | None = Field(
        default=None,
        description="evaluations between two fits of the predictor; None means a fifth of the "
        "evaluations that the search begins with, at least 10 and at most 50",
    )
    generations: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=100, description="of NSGA-II on the predictor"
    )
    predictor: Literal["ridge", "svr"] = "ridge"

    def within(self, evaluations: int) -> Self:
        """These settings with a population that suits a budget of so many evaluations."""
        if self.population_size is not None:
            return self
        return self.model_copy(update={"population_size": min(max(evaluations // 5, 10), 50)})


class HillClimbingSettings(StrategySettings):
    """Hill climbing from the heuristic subnet (Shears, Munoz et al. 2024)."""

    name: Literal["hill-climbing"] = "hill-climbing"
    neighbours: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=8, description="evaluated before each step"
    )


class ParetoSettings(StrategySettings):
    """Expected hypervolume improvement with exact costs; see ``docs/search.md``."""

    name: Literal["pareto"] = "pareto"
    surrogate: Literal["average", "bayesian_linear", "gaussian_process", "trees"] = Field(
        default="average",
        description="what predicts the metrics; average weighs the first two others by how well "
        "each predicts what it has not seen",
    )
    initial_design: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="evaluations before the first prediction; None means half the number of "
        "dimensions, at least 12 and at most 20",
    )
    exploration: Annotated[float, Field(ge=0.01, le=1.0)] = Field(
        default=0.05, description="share of proposals that explore, whatever is predicted"
    )
    priors: dict[str, Annotated[tuple[Weight, ...], Field(min_length=1)]] = Field(
        default={},
        description="by a dimension's name, a weight (1e-6 to 1e6) for each of its choices in "
        "their order: how likely each is drawn, for the design and for what is bred",
    )


class BoshnasSettings(StrategySettings):
    """BOSHNAS (Tuli et al. 2023), a surrogate's input searched by gradient; ``docs/search.md``."""

    name: Literal["boshnas"] = "boshnas"
    form: Literal["repaired", "published"] = Field(
        default="repaired",
        description="published: the whole policy as it was published, with its nets, training "
        "schedule and shares of random proposals, its weaknesses included: to compare with",
    )
    proposal: Literal["repaired", "published"] = Field(
        default="repaired",
        description="of the repaired form; published: ten descents from random subnets, each "
        "rounded to the nearest subnet; repaired: descents also from the best, then the largest "
        "expected improvement among where they end, mutations of the best, and one-dimension moves",
    )
    embedding: Literal["choices", "transformer2vec"] | None = Field(
        default=None,
        description="what the surrogate sees of a subnet: its choices, in steps where they are "
        "ordered; transformer2vec: a point for its sequence of layers, by edit distance; None "
        "means transformer2vec where subnets have different layers or the form is published",
    )
    initial_design: Annotated[int, Field(ge=4, le=1000)] = Field(
        default=10, description="evaluations before the first prediction"
    )
    second_order: bool = Field(
        default=True, description="descend by AdaHessian; false: by the gradient alone, as Adam"
    )
    heteroscedastic: bool = Field(
        default=True, description="learn the noise where it is; false: fit the means alone"
    )
    student: bool = Field(
        default=True,
        description="a net imitates the disagreement of the others; false: that is taken itself",
    )

    @model_validator(mode="after")
    def _the_published_form_is_whole(self) -> Self:
        if self.form == "published":
            for name in ("proposal", "heteroscedastic", "student"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} is a part of the repaired form, and the form is published: leave "
                        f"{name} out, or make the form repaired"
                    )
        return self


STRATEGIES: Registry[type[StrategySettings]] = Registry("strategy")
"""The settings of every strategy; `search.strategies.FACTORIES` has what they make."""

for _settings in (
    ParetoSettings,
    LinasSettings,
    HillClimbingSettings,
    Nsga2Settings,
    Nsga3Settings,
    TpeSettings,
    GpSettings,
    RandomSettings,
    BoshnasSettings,
):
    STRATEGIES.register(_settings.model_fields["name"].default, _settings)


@lru_cache(maxsize=8)
def _union(members: tuple[type[StrategySettings], ...]) -> TypeAdapter[StrategySettings]:
    union: Any = Annotated[Union[members], Field(discriminator="name")]  # noqa: UP007
    return TypeAdapter(union)


class _Registered:
    """Validates, and documents, the settings of the strategies that are registered by then."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def read(value: Any) -> StrategySettings:
            return _union(STRATEGIES.values()).validate_python(value)

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda settings: settings.model_dump(mode="json")
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(_union(STRATEGIES.values()).core_schema)


AnyStrategy = Annotated[StrategySettings, _Registered()]
"""The settings of a registered strategy."""
