"""The base model: a Hugging Face folder with an encoder, and perhaps a trained head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel

from api_schemas.problems import InputError
from supernet.architectures import Architecture
from supernet.checkpoint.model_config import read_config
from supernet.checkpoint.tensors import read_tensors


@dataclass(frozen=True)
class BaseModel:
    """A stock Transformers sequence classifier in evaluation mode, its weights frozen.

    ``new_tensors`` are the head's parameters that the folder did not hold.
    """

    architecture: Architecture
    model: PreTrainedModel
    label_names: tuple[str, ...] | None
    new_tensors: tuple[str, ...] = ()


def read_base_model(folder: Path, head: Mapping[str, torch.Tensor]) -> BaseModel:
    """The classifier of ``folder``, with the ``head`` tensors that an adapter file brought.

    ``head`` wins over the same tensors in the base. The number of labels is the number of rows of
    the head's last layer.

    Raises:
        InputError: a tensor that the model needs is missing, has the wrong shape or is not finite,
            or the model has no such head tensor.
    """
    architecture, config, label_names = read_config(folder)
    state = _encoder_state(folder, architecture) | dict(head)
    logits = f"{architecture.head[-1]}.weight"
    if logits not in state:
        raise InputError(
            "neither the adapter nor the base model holds this tensor of the task head",
            field=logits,
            remedy="register a fine-tuned super-network, not a bare encoder",
        )
    if state[logits].ndim != 2:
        raise InputError(
            "the last layer of the task head is not a matrix",
            field=logits,
            value=tuple(state[logits].shape),
        )
    labels = int(state[logits].shape[0])
    if label_names is not None and len(label_names) != labels:
        label_names = None
    model = _new_classifier(architecture, config, labels, label_names)
    expected = model.state_dict()
    for name in head:
        if name not in expected:
            raise InputError("the model has no such tensor", field=f"adapter/{name}")
    _load(model, state, head)
    return BaseModel(architecture, model, label_names)


def classifier_for_training(
    folder: Path, labels: int, label_names: tuple[str, ...] | None
) -> BaseModel:
    """A classifier with the encoder of ``folder`` and a newly initialised head for ``labels``.

    A head that the folder already has is kept only up to the layers that sequence classification
    adds (`Architecture.trained`). The initialisation uses torch's global random state.

    Raises:
        InputError: as `read_base_model`.
    """
    architecture, config, _ = read_config(folder)
    state = _encoder_state(folder, architecture)
    model = _new_classifier(architecture, config, labels, label_names)
    trained = tuple(f"{module}." for module in architecture.trained)
    heads = tuple(f"{module}." for module in architecture.head)
    new = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(trained) or (name.startswith(heads) and name not in state)
    }
    _load(model, state | new, head={})
    return BaseModel(architecture, model, label_names, tuple(new))


def _encoder_state(folder: Path, architecture: Architecture) -> dict[str, torch.Tensor]:
    """The folder's tensors under the names they have in the classifier.

    A bare encoder is stored without its prefix, and checkpoints from before 2019 call the weights
    of a LayerNorm gamma and beta.
    """
    tensors = read_tensors(folder, "model", label="base")
    prefix = f"{architecture.encoder}."
    bare = not any(name.startswith(prefix) for name in tensors)
    state = {}
    for name, tensor in tensors.items():
        current = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        current = current.replace("LayerNorm.beta", "LayerNorm.bias")
        state[prefix + current if bare else current] = tensor
    return state


def _new_classifier(
    architecture: Architecture,
    config: PretrainedConfig,
    labels: int,
    label_names: tuple[str, ...] | None,
) -> PreTrainedModel:
    config.num_labels = labels
    config.problem_type = "regression" if labels == 1 else "single_label_classification"
    if label_names is not None:
        config.id2label = dict(enumerate(label_names))
        config.label2id = {name: index for index, name in enumerate(label_names)}
    return architecture.model_class(config)


def _load(
    model: PreTrainedModel, state: Mapping[str, torch.Tensor], head: Mapping[str, torch.Tensor]
) -> None:
    """Load what the model needs of ``state``; tensors it does not know (an MLM head) are left.

    ``head`` are those of ``state`` that came from the adapter file, for the errors.
    """
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise InputError("the checkpoint lacks this tensor", field=f"base/{name}")
        if state[name].shape != tensor.shape:
            part = "adapter" if name in head else "base"
            raise InputError(
                f"the tensor has shape {tuple(state[name].shape)}, the config calls for "
                f"{tuple(tensor.shape)}",
                field=f"{part}/{name}",
            )
    model.load_state_dict({name: state[name] for name in expected})
    model.train(False).requires_grad_(False)
