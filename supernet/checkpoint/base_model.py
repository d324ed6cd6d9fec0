"""The base model: a Hugging Face folder with the blocks, and perhaps a trained head."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PretrainedConfig, PreTrainedModel

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.model_config import CONFIG_FIELD, read_config
from elasticnas.supernet.checkpoint.quantised import require_plain
from elasticnas.supernet.checkpoint.tensor_names import model_names, stored_tensors
from elasticnas.supernet.checkpoint.tensors import read_tensors
from elasticnas.supernet.families.family import Family, HeadKind, TaskHead
from elasticnas.supernet.plan import ModelShape

_OTHER_TASK = re.compile(r"For(?!SequenceClassification|MaskedLM|PreTraining)[A-Z]\w*$")
"""Classes whose head has names and shapes that a sequence classifier's could be taken for."""

_NO_SPANS = re.compile(r"For(?!QuestionAnswering|MaskedLM|PreTraining)[A-Z]\w*$")
"""Classes whose head is none of starts and ends, though it may be called so."""

_NO_LANGUAGE_MODEL = re.compile(r"For(?!CausalLM)[A-Z]\w*$")
"""Classes whose head is none over the vocabulary, so that a tied one would be taken for theirs."""


@dataclass(frozen=True)
class BaseModel:
    """A stock model of Transformers in evaluation mode, its weights frozen.

    Its parameters are the folder's tensors themselves, each in the dtype that it is stored in.
    ``new_tensors`` are the head's parameters that the folder did not hold.
    """

    family: Family
    model: PreTrainedModel
    task_head: TaskHead
    label_names: tuple[str, ...] | None
    new_tensors: tuple[str, ...] = ()

    @property
    def shape(self) -> ModelShape:
        """What a search space is laid over."""
        tensors = dict(self.model.named_parameters(remove_duplicate=False))
        return ModelShape.of(self.family, self.model.config, tensors)


def read_base_model(folder: Path, head: Mapping[str, torch.Tensor]) -> BaseModel:
    """The model of ``folder``, with the ``head`` tensors that an adapter file brought.

    ``head`` wins over the same tensors in the base, and over another head there. The number of a
    classifier's labels is the number of rows of the head's last layer.

    Raises:
        InputError: a tensor that the model needs is missing, has the wrong shape or is not finite,
            or the model has no such head tensor.
    """
    family, config, label_names = read_config(folder)
    stored = _encoder_state(folder, family, config)
    state = stored | dict(head)
    task_head = family.head_of(head, config) or family.head_of(state, config)
    if task_head is None:
        raise InputError(
            "neither the adapter nor the base model holds this tensor of the task head",
            field=f"{family.task_heads[0].logits}.weight",
            remedy="register a fine-tuned super-network, not a bare encoder"
            if family.task_heads[0].kind is HeadKind.CLASSIFIER
            else "register a language model with its head, as ForCausalLM's save_pretrained writes",
        )
    if task_head.kind is HeadKind.CLASSIFIER:
        logits = f"{task_head.logits}.weight"
        labels = _count_labels(config, state[logits], logits, own_head=logits not in head)
        if label_names is not None and len(label_names) != labels:
            label_names = None
        _describe_classes(config, labels, label_names)
    elif task_head.kind is HeadKind.SPANS:
        label_names = None
        _describe_spans(config, own_head=f"{task_head.logits}.weight" not in head)
    else:
        _refuse_other_task(config, _NO_LANGUAGE_MODEL, "register a causal language model")
    with EmptyOnMeta():  # the parameters will be the files' own tensors
        model = _new_model(task_head, config)
    expected = model.state_dict()
    for name in head:
        if name not in expected:
            raise InputError("the model has no such tensor", field=f"adapter/{name}")
    _check_tied(model, state, head)
    _load(model, state, head)
    return BaseModel(family, model, task_head, label_names)


def _count_labels(
    config: PretrainedConfig, weight: torch.Tensor, name: str, *, own_head: bool
) -> int:
    """The rows of a classifier's last layer."""
    if weight.ndim != 2:
        raise InputError(
            "the last layer of the task head is not a matrix",
            field=name,
            value=tuple(weight.shape),
        )
    labels = int(weight.shape[0])
    _check_task(config, labels, own_head=own_head)
    return labels


def classifier_for_training(
    folder: Path, labels: int, label_names: tuple[str, ...] | None
) -> BaseModel:
    """A classifier with the encoder of ``folder`` and a newly initialised head for ``labels``.

    A head that the folder already has is kept only up to the layers that sequence classification
    adds (`TaskHead.trained`). The initialisation uses torch's global random state.

    Raises:
        InputError: as `read_base_model`.
    """
    family, config, _ = read_config(folder)
    _describe_classes(config, labels, label_names)
    return _with_new_head(folder, family, config, family.classifier(), label_names)


def spans_for_training(folder: Path) -> BaseModel:
    """The encoder of ``folder`` with a new head of starts and ends, as `classifier_for_training`.

    Raises:
        InputError: as `read_base_model`, or the family has no such head.
    """
    family, config, _ = read_config(folder)
    heads = [head for head in family.task_heads if head.kind is HeadKind.SPANS]
    if not heads:
        raise InputError(
            "models of this family are read without a head of extractive question answering",
            field="base/config.json/model_type",
            value=family.model_type,
            remedy="begin with an encoder such as BERT",
        )
    _describe_spans(config, own_head=False)
    return _with_new_head(folder, family, config, heads[0], None)


def _with_new_head(
    folder: Path,
    family: Family,
    config: PretrainedConfig,
    task_head: TaskHead,
    label_names: tuple[str, ...] | None,
) -> BaseModel:
    state = _encoder_state(folder, family, config)
    model = _new_model(task_head, config)
    trained = tuple(f"{module}." for module in task_head.trained)
    heads = tuple(f"{module}." for module in task_head.one_token)
    new = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(trained) or (name.startswith(heads) and name not in state)
    }
    _load(model, state | new, head={})
    return BaseModel(family, model, task_head, label_names, tuple(new))


def _encoder_state(
    folder: Path, family: Family, config: PretrainedConfig
) -> dict[str, torch.Tensor]:
    """The folder's tensors under the names they have in a model with a task's head.

    Tensors outside of the encoder may be those of any head. One inside of it that the family
    does not have belongs to other arithmetic, and is refused; layers that the config leaves out
    are left out, as Transformers does.
    """
    tensors = read_tensors(folder, "model", label="base", leave_out=family.left_over)
    state = model_names(tensors, family)
    with torch.device("meta"):
        stock = family.task_heads[0].model_class(config).state_dict()
    layers = family.num_layers(config)
    prefix = f"{family.model}."
    for name in state:
        layer = family.layer_of(name)
        if (
            name.startswith(prefix)
            and name not in stock
            and not name.removeprefix(prefix).startswith(family.unused)
            and (layer is None or layer < layers)
        ):
            raise InputError(
                f"the encoder of a stock {family.model_type} has no such tensor, so this "
                "model computes something else",
                field=f"base/{name}",
                remedy="use a checkpoint of the stock architecture",
            )
    return state


def _check_task(config: PretrainedConfig, labels: int, *, own_head: bool) -> None:
    """The head must be a sequence classifier's, for one class or one number a row.

    ``own_head`` says that the base model itself holds it. Where nothing says the problem's type,
    Transformers takes one output for regression and several for single-label classification.
    """
    if own_head:
        _refuse_other_task(config, _OTHER_TASK, "register a sequence classifier")
    expected = "regression" if labels == 1 else "single_label_classification"
    if config.problem_type not in (None, expected):
        raise InputError(
            f"a head of {labels} output{'s' if labels > 1 else ''} can be measured as {expected} "
            "only",
            field=f"{CONFIG_FIELD}/problem_type",
            value=config.problem_type,
            remedy="register a model that gives one class or one number a row",
        )


def _refuse_other_task(config: PretrainedConfig, classes: re.Pattern[str], remedy: str) -> None:
    for name in config.architectures or ():
        if classes.search(name):
            raise InputError(
                "the base model's head is that of another task",
                field=f"{CONFIG_FIELD}/architectures",
                value=name,
                remedy=remedy,
            )


def _check_tied(
    model: PreTrainedModel, state: Mapping[str, torch.Tensor], head: Mapping[str, torch.Tensor]
) -> None:
    """A weight with two names may be stored under both, but then it must be one weight.

    PEFT trains the one that an adapter names, and leaves the other as it was.
    """
    first_names = {id(parameter): name for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = first_names[id(parameter)]
        if name == first:
            continue
        if first in head and name not in head:
            raise InputError(
                f"the adapter trained this, and not {name}, which config.json says is the same",
                field=f"adapter/{first}",
                remedy='save the base with "tie_word_embeddings": false and both tensors',
            )
        if name not in state or first not in state:
            continue
        if state[name].dtype != state[first].dtype or not torch.equal(state[name], state[first]):
            raise InputError(
                f"config.json says that this is {first}, but the two differ",
                field=f"{'adapter' if name in head else 'base'}/{name}",
                remedy='set "tie_word_embeddings" to false in base/config.json',
            )


def _describe_classes(
    config: PretrainedConfig, labels: int, label_names: tuple[str, ...] | None
) -> None:
    """Say in ``config`` what a classifier gives."""
    config.num_labels = labels
    config.problem_type = "regression" if labels == 1 else "single_label_classification"
    if label_names is not None:
        config.id2label = dict(enumerate(label_names))
        config.label2id = {name: index for index, name in enumerate(label_names)}


def _describe_spans(config: PretrainedConfig, *, own_head: bool) -> None:
    """Say in ``config`` that each token has two outputs.

    ``own_head`` says that the base model itself holds the head.
    """
    if own_head:
        _refuse_other_task(config, _NO_SPANS, "register a model of extractive question answering")
    config.num_labels = 2
    config.problem_type = None


class EmptyOnMeta(TorchFunctionMode):
    """Within it ``torch.empty`` allocates nothing: it gives tensors without data.

    What modules make that way are their parameters, to be initialised, loaded or thrown away. What
    they compute (positions, rotary frequencies) is as real as ever, which no file would bring back.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        given = dict(kwargs or {})
        if func is torch.empty:
            given["device"] = "meta"
        return func(*args, **given)


def _new_model(task_head: TaskHead, config: PretrainedConfig) -> PreTrainedModel:
    config.architectures = [task_head.model_class.__name__]
    return task_head.model_class(config)


def _load(
    model: PreTrainedModel, state: Mapping[str, torch.Tensor], head: Mapping[str, torch.Tensor]
) -> None:
    """Have the model take what it needs of ``state``; others (an MLM head) are left.

    Nothing is copied: its parameters become these tensors. ``head`` are those of ``state`` that
    came from the adapter file, for the errors.
    """
    expected = stored_tensors(model)
    for name, tensor in expected.items():
        if name not in state:
            raise InputError("the checkpoint lacks this tensor", field=f"base/{name}")
        part = "adapter" if name in head else "base"
        require_plain(name, state[name], label=part)
        if state[name].shape != tensor.shape:
            raise InputError(
                f"the tensor has shape {tuple(state[name].shape)}, the config calls for "
                f"{tuple(tensor.shape)}",
                field=f"{part}/{name}",
            )
    needed = {name: state[name] for name in expected}
    model.load_state_dict(needed, strict=False, assign=True)
    model.tie_weights()
    model.train(False).requires_grad_(False)
