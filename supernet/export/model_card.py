"""The model card of an exported subnet: what it is, how well it does, how to load it."""

from __future__ import annotations

from pathlib import Path

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.spaces import (
    FFN,
    FFN_LAYERS,
    HEADS,
    HIDDEN,
    KERNEL,
    OPERATION,
    RANK,
    Half,
)
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.export.carried_code import FILE as CODE_FILE
from elasticnas.supernet.families.family import HeadKind
from elasticnas.supernet.forward.activation import active_halves
from elasticnas.supernet.supernet import Supernet

_LOAD = {
    WeightsFormat.TRANSFORMERS: """\
from transformers import {auto_class}, AutoTokenizer

model = {auto_class}.from_pretrained("{folder}"{remote})
tokenizer = AutoTokenizer.from_pretrained("{folder}"{remote})
""",
    WeightsFormat.PEFT: """\
from peft import PeftModel
from transformers import {auto_class}

base = {auto_class}.from_pretrained("{base}"{labels})
model = PeftModel.from_pretrained(base, "{folder}")
""",
    WeightsFormat.ONNX: """\
from onnxruntime import InferenceSession
from transformers import AutoTokenizer

session = InferenceSession("{folder}/model.onnx")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
names = [each.name for each in session.get_inputs()]
kinds = "token_type_ids" in names
rows = tokenizer(
    ["a text", "another"], padding=True, return_token_type_ids=kinds, return_tensors="np"
)
found = session.run(None, {{name: rows[name].astype("int64") for name in names}})  # {outputs}
""",
}

_PIPELINES = {
    HeadKind.CLASSIFIER: "text-classification",
    HeadKind.CAUSAL_LM: "text-generation",
    HeadKind.SPANS: "question-answering",
}
"""What the Hugging Face hub calls what a model does."""

_OUTPUTS = {
    HeadKind.CLASSIFIER: "[logits (rows, labels)]",
    HeadKind.SPANS: "[logits of starts and of ends, (rows, tokens) each]",
}
"""What a graph gives."""

_COUNTED = {
    WeightsFormat.TRANSFORMERS: "the weight file of this folder, adapters merged",
    WeightsFormat.PEFT: "the base model and this adapter together, unmerged",
    WeightsFormat.ONNX: "the model that the graph was traced from, adapters merged",
}

_PER_TOKEN = """\
`gflops_per_token` is what the last of these tokens costs with the keys and values of the others
kept, which take `kv_bytes`; `weight_bytes` are those of the merged weights.
"""


def write_model_card(
    folder: Path,
    supernet: Supernet,
    subnet: SubnetConfig,
    card: SubnetCard,
    weights_format: WeightsFormat,
    nonzero_params: int,
    *,
    needs_code: bool = False,
) -> None:
    """Write ``README.md``, a Hugging Face model card.

    ``nonzero_params`` are those of what the card tells to load. They take the place of the search's
    own figure, which counts adapters apart from the base even where they are merged here.
    """
    text = _markdown(
        supernet,
        subnet,
        card,
        weights_format,
        nonzero_params=nonzero_params,
        needs_code=needs_code,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _markdown(
    supernet: Supernet,
    subnet: SubnetConfig,
    card: SubnetCard,
    weights_format: WeightsFormat,
    *,
    nonzero_params: int,
    needs_code: bool,
) -> str:
    """The card in Markdown."""
    is_classifier = supernet.task_head.kind is HeadKind.CLASSIFIER
    library = weights_format.value
    load = _LOAD[weights_format].format(
        folder="path/to/this/folder",
        remote=", trust_remote_code=True" if needs_code else "",
        base=supernet.base_name or "path/to/the/base/model",
        labels=f", num_labels={supernet.num_labels}" if is_classifier else "",
        auto_class=supernet.task_head.auto_class,
        outputs=_OUTPUTS.get(supernet.task_head.kind, ""),
    )
    code_file, what = "modeling_subnet.py", "width"
    if supernet.family.operations:
        code_file, what = CODE_FILE, "operation and widths"
    code = (
        f"\n`{code_file}` in this folder gives every layer its own {what}; it needs torch and "
        "transformers, nothing else.\n"
        if needs_code
        else ""
    )
    known = {"nonzero_params": nonzero_params}
    cost = "\n".join(
        f"| {name} | {_number(known.get(name, value))} |" for name, value in card.cost.items()
    )
    how = f"at most {card.max_length} tokens a row"
    if card.precision is not None:
        how += f", in {card.precision}"
    return f"""---
library_name: {library}
pipeline_tag: {_PIPELINES[supernet.task_head.kind]}
tags: [elasticnas, neural-architecture-search, {supernet.method}]
---

# {card.supernet_name}: subnet {card.number}

A subnet of the {supernet.family.model_type} super-network *{card.supernet_name}*
({supernet.method}), found by ElasticNAS (search `{card.search_id}`){_trained_on(card)}.

## Load it

```python
{load}```
{code}
## Measured

On *{card.dataset_name}* ({card.dataset_rows} rows), {how}:

{_metrics(card)}

## Cost

For one sequence of {card.max_length} tokens; `gflops` counts a multiply-accumulate as one
operation, attention products included. `nonzero_params` are counted in {_COUNTED[weights_format]}.
{_PER_TOKEN if Cost.GFLOPS_PER_TOKEN in card.cost else ""}
| cost | value |
| --- | --- |
{cost}

## The subnet

| layer of the super-network | {" | ".join(_columns(supernet).values())} |
| --- |{" --- |" * len(_columns(supernet))}
{_layers(supernet, subnet)}
"""


def _trained_on(card: SubnetCard) -> str:
    if (found := card.finetuned) is None:
        return ""
    text = (
        f" and trained on by itself with {found.dataset_rows} rows of *{found.dataset_name}*, the "
        "maximal subnet teaching it"
    )
    if found.start is None:
        return text
    return (
        f"{text}. The training began with the weights that subnet {found.start.number} of that "
        f"search had learnt, which {100 * found.start.overlap:.0f} % of its parameters were taken "
        "from"
    )


def _metrics(card: SubnetCard) -> str:
    """A table of the metrics; of a subnet that was trained on, with those it had before, or at the
    end of each rung."""
    columns = {"value": card.metrics}
    if (trained := card.finetuned) is not None and trained.rungs:
        columns |= {f"after {each.steps} steps": each.metrics for each in trained.rungs}
    elif trained is not None and trained.before is not None:
        columns["before that training"] = trained.before
    lines = [["metric", *columns], ["---"] * (1 + len(columns))]
    for name in card.metrics:
        lines.append([name, *(f"{each[name]:.4f}" for each in columns.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_HALVES: dict[str, Half] = {HEADS: "attention", FFN: "ffn"}
"""The half of a layer that a part is in."""


def _columns(supernet: Supernet) -> dict[str, str]:
    """The parts of a layer that the table tells of."""
    heads = {HEADS: "attention heads"}
    if supernet.family.operations:
        before = {OPERATION: "operation", KERNEL: "kernel", HIDDEN: "hidden size"}
        return before | heads | {FFN: "FFN width", FFN_LAYERS: "FFN layers"}
    return heads | {FFN: "FFN width", RANK: "LoRA rank"}


def _layers(supernet: Supernet, subnet: SubnetConfig) -> str:
    """One table row per layer, as the super-network counts them, with its dimensions' choices.

    A dash stands where nothing is cut. Layers that are left out have no row.
    """
    rows = []
    for layer, halves in active_halves(supernet, subnet).items():
        cells = []
        for part in _columns(supernet):
            if _HALVES.get(part, halves[0]) not in halves:
                cells.append("left out")
                continue
            choices = [
                f"{subnet[d.name]} of {d.choices[0]}" if d.ordered else f"{subnet[d.name]}"
                for d in supernet.space.dimensions
                if d.part == part and d.layer in (layer, None) and subnet.meets(d.active_when)
            ]
            cells.append(", ".join(choices) or "-")
        rows.append(f"| {layer} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _number(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
