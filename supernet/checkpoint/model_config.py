"""A user's ``config.json``, through a schema of our own.

Transformers has run code named in a config.json (CVE-2026-4372), so the file is never handed to it:
the fields below are read, checked and put into a fresh config of an allowed family.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.json_file import read_object, validated
from elasticnas.supernet.checkpoint.options import check_options
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.families.family import Family

CONFIG_FIELD = "base/config.json"


def read_config(folder: Path) -> tuple[Family, PretrainedConfig, tuple[str, ...] | None]:
    """The family, a fresh config, and the label names in order if the file has real ones.

    The number of labels is not taken from the file but from the head's tensor, later.

    Raises:
        InputError: no config.json, an unsupported family, an option that is refused or not
            known, or a field out of bounds.
    """
    raw = read_object(folder / "config.json", field=CONFIG_FIELD)
    family = FAMILIES.find(raw.get("model_type"), field=f"{CONFIG_FIELD}/model_type")
    check_options(raw, family.options, field=CONFIG_FIELD)
    raw = _own_names(raw, family)
    fields = validated(family.fields, raw, field=CONFIG_FIELD)
    # What the file leaves out takes the family's default: RoBERTa pads with 1, BERT with 0.
    given = fields.model_dump(exclude={"id2label"}, exclude_unset=True, exclude_none=True)
    said = fields.model_fields_set.intersection(fields.meant_nulls)
    given |= {name: None for name in said if getattr(fields, name) is None}
    config = _config(family, given)
    _check_sizes(config, family)
    if family.positions_after_padding and "pad_token_id" in raw and fields.pad_token_id is None:
        raise InputError(
            f"{family.model_type} counts positions from behind its padding token",
            field=f"{CONFIG_FIELD}/pad_token_id",
            value="null",
            remedy="name the padding token's id",
        )
    return family, config, _label_names(fields.id2label)


def _config(family: Family, given: dict[str, Any]) -> PretrainedConfig:
    """A fresh config of the family, which has checks of its own."""
    try:
        return family.config_class(**given)
    except Exception as error:  # of pydantic, huggingface_hub, and of Transformers' own
        raise InputError(
            f"Transformers takes no such config: {' '.join(str(error).split())}", field=CONFIG_FIELD
        ) from error


def _own_names(raw: dict[str, Any], family: Family) -> dict[str, Any]:
    """``raw`` under the family's own names, where files have a second one for them."""
    named = dict(raw)
    for other, own in {**family.config_class.attribute_map, **family.other_names}.items():
        if other not in named:
            continue
        value = named.pop(other)
        if named.setdefault(own, value) != value:
            raise InputError(
                f"this is another name of {own}, and says otherwise",
                field=f"{CONFIG_FIELD}/{other}",
                value=f"{value} and {named[own]}",
                remedy=f"take {other} out of the file",
            )
    return named


def _check_sizes(config: PretrainedConfig, family: Family) -> None:
    hidden, heads = getattr(config, family.hidden_size), getattr(config, family.heads)
    if family.head_size(config) * heads != hidden and not family.has_own_head_size(config):
        raise InputError(
            f"the hidden size {hidden} is not a multiple of the number of attention heads",
            field=f"{CONFIG_FIELD}/{family.heads}",
            value=heads,
        )
    if heads % family.num_kv_heads(config):
        raise InputError(
            f"{heads} attention heads do not share so many key-value heads evenly",
            field=f"{CONFIG_FIELD}/{family.kv_heads}",
            value=family.num_kv_heads(config),
        )
    if (config.pad_token_id or 0) >= config.vocab_size:
        raise InputError(
            f"the padding token is beyond the {config.vocab_size} embeddings",
            field=f"{CONFIG_FIELD}/pad_token_id",
            value=config.pad_token_id,
            remedy="name the id that the tokenizer pads with",
        )
    if family.longest(config) < 1:
        raise InputError(
            "no position is left behind the padding token's, from where this family counts",
            field=f"{CONFIG_FIELD}/max_position_embeddings",
            value=config.max_position_embeddings,
        )


def _label_names(id2label: dict[int, str] | None) -> tuple[str, ...] | None:
    """Names in class order; None when the file has none, or names that tell no classes apart.

    Placeholders (``LABEL_0``) are no names.
    """
    if not id2label or sorted(id2label) != list(range(len(id2label))):
        return None
    names = tuple(id2label[index] for index in range(len(id2label)))
    if len(set(names)) < len(names):
        return None
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names
