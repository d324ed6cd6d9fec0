"""Prompt templates that super-networks were published with, to the last space.

A model that was fine-tuned with a template knows its answers behind that template: LoNAS's and
Shears's scripts indent Alpaca's layout (Taori et al. 2023) as their source code is indented, by a
number of spaces that differs from script to script, and a training header ends with two spaces
where one for evaluation ends with one.

Sources: ``run_math.py`` and ``run_commonsense.py`` of LoNAS and of Shears, and ``run_gsm8k.py`` of
Shears (github.com/IntelLabs/Hardware-Aware-Automated-Machine-Learning), for rows without an
``input``; evaluation ignores that field.
"""

from __future__ import annotations

from dataclasses import dataclass

from elasticnas.api_schemas.registry import Registry

INSTRUCTION = "{instruction}"
HEADER = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


@dataclass(frozen=True)
class PromptTemplate:
    """A text with one place for an instruction; the answer follows right behind it."""

    name: str
    text: str

    def around(self, instruction: str) -> str:
        """The prompt of one instruction, in which braces are nothing special."""
        before, _, after = self.text.partition(INSTRUCTION)
        return f"{before}{instruction}{after}"


PROMPT_TEMPLATES: Registry[PromptTemplate] = Registry("prompt template")
"""Every named template."""


def _alpaca(name: str, *, indent: int, header_spaces: int) -> None:
    spaces = " " * indent
    text = (
        f"{HEADER}{' ' * header_spaces}\n\n"
        f"{spaces}### Instruction:\n{spaces}{INSTRUCTION}\n\n"
        f"{spaces}### Response:\n{spaces}"
    )
    PROMPT_TEMPLATES.register(name, PromptTemplate(name, text))


for _method in ("lonas", "shears"):
    _alpaca(f"{_method}-math", indent=28, header_spaces=1)
    _alpaca(f"{_method}-commonsense", indent=24, header_spaces=1)
    _alpaca(f"{_method}-training", indent=20, header_spaces=2)
_alpaca("shears-gsm8k", indent=24, header_spaces=1)
_alpaca("shears-gsm8k-training", indent=16, header_spaces=2)
