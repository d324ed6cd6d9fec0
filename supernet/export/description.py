"""What the folder of a subnet says of it, beside its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Description:
    """A config, and the text of the file of code beside it, if no stock class is the subnet.

    ``build`` makes the model that ``class_name`` is, without the subnet's weights.
    """

    config: PretrainedConfig
    class_name: str
    build: Callable[[], PreTrainedModel]
    code_file: str = ""
    code: str | None = None
