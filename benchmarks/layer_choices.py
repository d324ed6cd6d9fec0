"""Ways to choose which layers' adapters to keep: Flexora's and its neighbours'.

- `by_gradient_norm`: of B where it is zero, on training rows.
- `by_lora_drop` (Zhou et al. 2024): the squared norm of what adapters give, after training all. Its
  sharing of one adapter among the layers that are dropped is left out: no stock adapter can.
- `by_greedy_forward`: layers added one at a time, by the outer loss after a short training of each.
- `by_flexora`: the recipe's step `select`, first order or unrolled.
- `by_search`: adapters trained with random layers off, then `EVALUATIONS` of ``pareto`` by the
  outer loss and trainable parameters.
- `adalora` (Zhang et al. 2023), PEFT's, which spreads ranks over layers while it trains.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForSequenceClassification

from benchmarks.adapted_layers import SCORING_BATCH, Score, Subject, logits_of, scored, trained
from benchmarks.supernet_search import run_search, search_loop
from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.flexora_training import Order
from elasticnas.api_schemas.layer_selection import SelectionReport
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.methods.flexora import adaptation, read_report, select
from elasticnas.supernet.methods.lonas import new_supernet, trainable_tensors
from elasticnas.supernet.plan import LORA_B
from elasticnas.supernet.selection.groups import groups_of
from elasticnas.supernet.selection.rules import largest
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.loop import batch_rows

EVALUATIONS = 30


@dataclass(frozen=True)
class Budget:
    """So many layers are kept, of so many; choosing takes so many steps."""

    kept: int
    layers: int
    steps: int


def at_random(subject: Subject, budget: Budget, draw: int) -> list[int]:
    """Any; several draws of a seed differ."""
    order = random.Random(f"{subject.settings.seed}/{draw}")
    return sorted(order.sample(range(budget.layers), budget.kept))


def by_gradient_norm(subject: Subject, budget: Budget) -> list[int]:
    """The norm of the gradient of B, where it is zero, on training rows."""
    inner = subject.inner
    run = inner.run(Path())
    supernet = new_supernet(run, inner.read(), adaptation(run.settings))
    rows, tensors = inner.rows, trainable_tensors(supernet)
    for step in range(budget.steps // 2):
        active = activate(supernet, supernet.space.maximal)
        rows.loss(active, batch_rows(rows.lengths, run.settings, step), run.device).backward()  # type: ignore[no-untyped-call]
    found = []
    for group in groups_of(supernet):
        norms = [tensors[f"{m}.{LORA_B}"].grad.norm() ** 2 for m in group.modules]  # type: ignore[union-attr]
        found.append(float(sum(norms)))
    return sorted(largest(found, budget.kept))


def by_lora_drop(subject: Subject, budget: Budget) -> list[int]:
    """The squared norm of what each layer's adapters give, after training all."""
    inner = subject.inner
    supernet = trained(inner, range(budget.layers), budget.steps)
    rows, groups = inner.rows, groups_of(supernet)
    sums = dict.fromkeys(supernet.adapters, 0.0)
    logits = logits_of(supernet, inner)
    with torch.inference_mode(), _watching(supernet, sums):
        for at in range(0, min(len(rows.lengths), 512), SCORING_BATCH):
            logits(range(at, min(at + SCORING_BATCH, len(rows.lengths))))
    given = [sum(sums[module] for module in group.modules) for group in groups]
    return sorted(largest(given, budget.kept))


@contextmanager
def _watching(supernet: Supernet, sums: dict[str, float]) -> Iterator[None]:
    """Add up the squared norms of what adapters give for whatever runs in the block."""

    def hook(module: str) -> Callable[..., None]:
        adapter = supernet.adapters[module]

        def see(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            sums[module] += float((given[0] @ adapter.a.T @ adapter.b.T).square().sum())

        return see

    handles = [
        supernet.model.get_submodule(module).register_forward_pre_hook(hook(module))
        for module in supernet.adapters
    ]
    try:
        yield
    finally:
        for each in handles:
            each.remove()


def by_greedy_forward(subject: Subject, budget: Budget) -> list[int]:
    """One layer more at a time, the one of the lowest outer loss after a short training."""
    trials = sum(budget.layers - done for done in range(budget.kept))
    kept: list[int] = []
    for _ in range(budget.kept):
        losses = {}
        for layer in sorted(set(range(budget.layers)) - set(kept)):
            steps = max(1, budget.steps * 2 // trials)
            tried = trained(subject.inner, sorted([*kept, layer]), steps)
            losses[layer] = scored(logits_of(tried, subject), subject, subject.split.outer).loss
        kept.append(min(losses, key=lambda layer: losses[layer]))
    return sorted(kept)


def by_flexora(subject: Subject, budget: Budget, order: Order = Order.FIRST) -> list[int]:
    """The largest alphas."""
    return _by_alpha(_flexora(subject, budget, order))[: budget.kept]


def lowest_by_flexora(subject: Subject, budget: Budget) -> list[int]:
    """The smallest alphas."""
    return _by_alpha(_flexora(subject, budget, Order.FIRST))[-budget.kept :]


def above_the_phantom(subject: Subject, budget: Budget) -> list[int]:
    """Those that the recipe itself would select, however many."""
    report = _flexora(subject, budget, Order.FIRST)
    return [at for at, group in enumerate(report.groups) if group.name in report.selected]


def _by_alpha(report: SelectionReport) -> list[int]:
    return sorted(range(len(report.groups)), key=lambda at: -report.groups[at].alpha)


def _flexora(subject: Subject, budget: Budget, order: Order) -> SelectionReport:
    """What the step `select` finds; choices that read the same selection share it.

    Unrolled it makes a third as many turns, for each costs three to four times as much.
    """
    steps = budget.steps if order is Order.FIRST else max(1, budget.steps // 3)
    key = (subject.settings.seed, order, steps)
    if key not in _SELECTED:
        with tempfile.TemporaryDirectory() as folder:
            run = subject.run(Path(folder), order=order, select_steps=steps)
            select(run)
            _SELECTED[key] = read_report(Path(folder))
    return _SELECTED[key]


_SELECTED: dict[tuple[int, Order, int], SelectionReport] = {}


def by_search(subject: Subject, budget: Budget) -> list[int]:
    """The best subnet with so many layers on, of a search of adapters trained to be off."""
    supernet = trained(subject.inner, range(budget.layers), budget.steps, sampling="random")

    def measure(subnet: SubnetConfig) -> float:
        return scored(logits_of(supernet, subject, subnet), subject, subject.split.outer).loss

    found = {
        tuple(at for at, rank in enumerate(subnet.values()) if rank): loss
        for subnet, loss in searched(supernet, measure, subject.settings.seed).items()
    }
    allowed = [layers for layers in found if len(layers) <= budget.kept]
    size = max(map(len, allowed))
    return list(min((found[each], each) for each in allowed if len(each) == size)[1])


def searched(
    supernet: Supernet, measure: Callable[[SubnetConfig], float], seed: int
) -> dict[SubnetConfig, float]:
    """The losses of the subnets that ``pareto`` evaluates, by loss and trainable parameters.

    A loss is told as the mean likelihood that it stands for, which has the range of an accuracy.
    """
    loop = search_loop(
        supernet.space,
        cost_model(supernet),
        "accuracy",
        Cost.TRAINABLE_PARAMS,
        rows=1000,
        max_length=supernet.reference_length,
        seed=seed,
        budget={"evaluations": EVALUATIONS},
    )
    found: dict[SubnetConfig, float] = {}

    def evaluate(subnet: SubnetConfig) -> dict[str, float]:
        found[subnet] = measure(subnet)
        return {"accuracy": math.exp(-found[subnet])}

    run_search(loop, evaluate)
    return found


def adalora(subject: Subject, budget: Budget, steps: int, validation: Subject) -> Score:
    """PEFT's AdaLoRA, trained and measured; it chooses ranks while it trains."""
    settings, total = subject.settings, budget.steps + steps
    torch.manual_seed(settings.seed)
    stock = AutoModelForSequenceClassification.from_pretrained(subject.base, num_labels=2)
    rank = max(1, round(settings.lora_rank * budget.kept / budget.layers))
    config = peft.AdaLoraConfig(
        task_type="SEQ_CLS",
        target_modules=["query", "value"],
        init_r=settings.lora_rank,
        target_r=rank,
        lora_alpha=round(settings.lora_alpha),
        tinit=total // 6,
        tfinal=total // 3,
        deltaT=5,
        total_step=total,
    )
    model: Any = peft.get_peft_model(stock, config)
    learnt = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=settings.learning_rate, weight_decay=0.0)
    rows = subject.rows
    for step in range(total):
        batch = batch_rows(rows.lengths, settings, step)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 - step / total)
        model.train(settings.dropout)
        model(**rows.inputs(batch), labels=subject.labels[batch]).loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    model.eval()
    return scored(lambda batch: model(**validation.rows.inputs(batch)).logits, validation)
