"""Subnets that are trained by themselves before anybody measures them or takes them away.

One function for both, so that what is handed out is what was measured: the training is made again,
from the same weights, rows, settings and seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from elasticnas.api_schemas.conditions import FineTuning
from elasticnas.api_schemas.finetuning import FinetuneSettings
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.methods.finetune import learnt, rows_to_learn
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import TrainingRows
from elasticnas.tasks import TASKS
from elasticnas.tasks.stored_rows import read_rows


@dataclass(frozen=True)
class TrainedFirst:
    """Trains subnets of a super-network, each on the same rows; ``device`` is where it lies."""

    supernet: Supernet
    settings: FinetuneSettings
    data: TrainingData
    rows: TrainingRows
    device: torch.device

    @property
    def tokens(self) -> int:
        """How many tokens a training runs a subnet on, forwards and, twice as dear, backwards.

        The teacher's are among them: it reads what the subnet reads.
        """
        steps = self.settings.steps_on(len(self.rows.lengths))
        mean = sum(self.rows.lengths) / max(1, len(self.rows.lengths))
        return round(4 * steps * min(self.settings.batch_size, len(self.rows.lengths)) * mean)

    def subnet(
        self, subnet: SubnetConfig, is_unwanted: Callable[[], bool] = lambda: False
    ) -> Supernet:
        """A subnet as it is once trained: a super-network of which it is the only subnet.

        ``is_unwanted`` is asked after every step, and may raise errors of its own.

        Raises:
            StepStoppedError: ``is_unwanted`` said so.
            InputError: adapters are to be trained, and there are none.
        """
        run = StepRun(
            settings=self.settings,
            source=self.supernet.folder,
            data=self.data,
            output=self.supernet.folder,
            saved=None,
            device=self.device,
            tell=lambda _: None,
            keep=lambda _done, _save: None,
            must_stop=is_unwanted,
        )
        with torch.inference_mode(mode=False), torch.enable_grad():
            own = learnt(run, self.supernet, subnet, self.rows)
        return own.merged(subnet)


def trained_first(
    supernet: Supernet, fine_tuning: FineTuning, task: str, rows: Path, device: torch.device
) -> TrainedFirst:
    """What trains the subnets of a super-network that lies on ``device``, in float32.

    Its tokenizer is read anew, so its folder must be there.

    Raises:
        InputError: a row or a setting cannot be used.
    """
    settings = FinetuneSettings.model_validate(fine_tuning.settings)
    learnt_task = TASKS.find(task, field="task")
    data = TrainingData(read_rows(rows), learnt_task, supernet.num_labels, supernet.label_names)
    return TrainedFirst(supernet, settings, data, rows_to_learn(supernet, data, settings), device)
