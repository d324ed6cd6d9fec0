"""From a checkpoint folder to a super-network.

The folder holds ``base/`` (a Hugging Face model, which may also lie at the top), optionally
``adapter/`` (a PEFT LoRA folder), and the search space in one of the formats of `supernet.formats`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.adapter import AdapterFolder, read_adapter
from elasticnas.supernet.checkpoint.adapter_options import ADAPTER_OPTIONS
from elasticnas.supernet.checkpoint.base_model import BaseModel, read_base_model
from elasticnas.supernet.checkpoint.end_tokens import read_end_tokens
from elasticnas.supernet.checkpoint.layout import base_folder, refuse_stray_adapters
from elasticnas.supernet.checkpoint.refits import read_refits
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.families.family import TASK_TYPES, HeadKind
from elasticnas.supernet.formats import format_of
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import LoraAdapter, Supernet, named_tensors

DEFAULT_REFERENCE_LENGTH = 128
"""Where a checkpoint does not say at how many tokens it prices subnets: GLUE's usual length."""


def read_supernet(folder: Path) -> Supernet:
    """Read and check a whole checkpoint.

    Its weights are the files' own, mapped, in the dtypes they are stored in (adapters in float32):
    `Supernet.to` says what is computed in.

    Raises:
        InputError: anything that is missing, unsupported or contradictory, naming the file, tensor
            or key at fault.
    """
    base_at = base_folder(folder)
    if not base_at.is_dir():
        raise InputError(
            "the checkpoint has no base model",
            field="base/",
            value=", ".join(sorted(path.name for path in folder.iterdir())) or "an empty folder",
            remedy="put the Hugging Face folder of the base model into base/",
        )
    refuse_stray_adapters(folder)
    found = (
        read_adapter(folder / "adapter")
        if (folder / "adapter").is_dir()
        else AdapterFolder(adapters={}, head={})
    )
    base = read_base_model(base_at, found.head)
    _check_task_type(found.task_type, base)
    _check_adapters(found.adapters, base.model)
    _check_saved_modules(found, base.model)
    tensors = named_tensors(base.model, found.adapters)
    shape = ModelShape.of(base.family, base.model.config, tensors, found.truncated)
    known = format_of(folder)
    elastic = known.read(folder, shape)
    elastic.plan.validate(elastic.space, shape.shapes, has_halves=bool(base.family.halves))
    supernet = Supernet(
        method=known.name,
        family=base.family,
        model=base.model,
        adapters={m: replace(a, join=elastic.join or a.join) for m, a in found.adapters.items()},
        space=elastic.space,
        plan=elastic.plan,
        reference_length=elastic.reference_length or DEFAULT_REFERENCE_LENGTH,
        folder=folder,
        label_names=base.label_names,
        head_tensors=tuple(found.head),
        base_name=found.base_name,
        end_tokens=read_end_tokens(base_at, base.model.config),
        dtypes={name: tensor.dtype for name, tensor in tensors.items()},
        refits=read_refits(folder, shape, elastic.space, elastic.plan),
    )
    read_tokenizer(base_at)
    return supernet


def _check_task_type(task_type: str | None, base: BaseModel) -> None:
    """An adapter is for a model with the head that it was trained under.

    One that was trained for features is for any model but a language model.
    """
    kind = base.task_head.kind
    fits = task_type in (None, TASK_TYPES[kind])
    if task_type not in TASK_TYPES.values():
        fits = fits or kind is not HeadKind.CAUSAL_LM
    if not fits:
        raise ADAPTER_OPTIONS["task_type"].refusal(
            task_type, field="adapter/adapter_config.json/task_type"
        )


def _check_adapters(adapters: dict[str, LoraAdapter], model: PreTrainedModel) -> None:
    """Every adapter must fit a linear layer of the model."""
    modules = dict(model.named_modules())
    own = dict(model.named_parameters())  # of a tied weight, under its first name alone
    for module, adapter in adapters.items():
        layer = modules.get(module)
        if not isinstance(layer, nn.Linear):
            raise InputError(
                "the base model has no linear layer for this adapter", field=f"adapter/{module}"
            )
        if layer.weight.shape != (adapter.b.shape[0], adapter.a.shape[1]):
            raise InputError(
                f"the adapter is for a layer of shape {(adapter.b.shape[0], adapter.a.shape[1])}, "
                f"the base model's has {tuple(layer.weight.shape)}",
                field=f"adapter/{module}",
                remedy="use the base model that the adapter was trained on",
            )
        if f"{module}.weight" not in own:
            raise InputError(
                "the layer's weight is that of the embeddings, which the adapter leaves alone",
                field=f"adapter/{module}",
                remedy='save the base with "tie_word_embeddings": false and a weight of its own '
                "for this layer",
            )


def _check_saved_modules(found: AdapterFolder, model: PreTrainedModel) -> None:
    """The file must hold the modules that it says were trained: PEFT loads no other's."""
    for name in model.state_dict():
        module = name.rpartition(".")[0]
        for saved in found.saved_modules:
            if f".{saved}." in f".{module}." and name not in found.head:
                raise InputError(
                    "modules_to_save names a module that the adapter's file does not hold",
                    field=f"adapter/{name}",
                    value=saved,
                    remedy="save the adapter again from the model that was trained",
                )


def load_tokenizer(supernet: Supernet) -> PreTrainedTokenizerBase:
    """The tokenizer that the super-network was trained with."""
    return read_tokenizer(supernet.base_folder)
