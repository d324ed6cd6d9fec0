"""Subnets that are trained by themselves before anybody measures them or takes them away.

One function for both, so that what is handed out is what was measured: the training is made again,
from the same weights, rows, settings and seed. Where trainings begin with each other's weights,
these are kept, and nothing is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.conditions import FineTuning
from elasticnas.api_schemas.finetuning import FinetuneSettings
from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.spaces import SubnetChoices
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.extraction import Extracted
from elasticnas.supernet.methods.finetune import extracted, learnt, rows_to_learn
from elasticnas.supernet.methods.step import StepRun, StepStoppedError, TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import TrainingRows
from elasticnas.supernet.weight_transfer import restore, transfer
from elasticnas.tasks import TASKS
from elasticnas.tasks.stored_rows import read_rows


@dataclass(frozen=True)
class Start:
    """Another subnet's trained weights, in a file, and how many of its layers are taken over."""

    tensors: Path
    subnet: SubnetChoices
    layers: int


@dataclass(frozen=True)
class TrainingFiles:
    """What a training finds and leaves beside the super-network, which it needs in any case.

    It begins with ``start``, where there is one; or goes on from the folder ``resumed``. Where the
    subnet's weights were ``trained`` before, there is no training. What was learnt is written to
    ``kept``. A training that is left off after ``until`` steps leaves, in the folder ``state``,
    what it can go on from.
    """

    start: Start | None = None
    trained: Path | None = None
    kept: Path | None = None
    resumed: Path | None = None
    until: int | None = None
    state: Path | None = None


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
        self,
        subnet: SubnetConfig,
        is_unwanted: Callable[[], bool] = lambda: False,
        files: TrainingFiles | None = None,
    ) -> Supernet:
        """A subnet as it is once trained: a super-network of which it is the only subnet.

        ``is_unwanted`` is asked after every step, and may raise errors of its own.

        Raises:
            StepStoppedError: ``is_unwanted`` said so.
            InputError: adapters are to be trained, and there are none; or the files are not of
                such subnets.
        """
        files = files or TrainingFiles()
        with torch.inference_mode(mode=False):
            own = extracted(self.settings, self.supernet, subnet)
            if files.trained is not None:
                restore(own, load_file(files.trained))
                return own.merged(subnet)
            if files.start is not None and files.resumed is None:
                self._begin(own, subnet, files.start)
            with torch.enable_grad():
                self._train(own, subnet, is_unwanted, files)
        if files.kept is not None:
            tensors = {name: each.detach().cpu() for name, each in own.tensors.items()}
            save_file({name: each.contiguous() for name, each in tensors.items()}, files.kept)
        return own.merged(subnet)

    def _begin(self, own: Extracted, subnet: SubnetConfig, start: Start) -> None:
        of = self.supernet.space.subnet(start.subnet)
        transfer(self.supernet, own, subnet, load_file(start.tensors), of, start.layers)

    def _train(
        self,
        own: Extracted,
        subnet: SubnetConfig,
        is_unwanted: Callable[[], bool],
        files: TrainingFiles,
    ) -> None:
        done = 0

        def tell(progress: StepProgress) -> None:
            nonlocal done
            done = progress.done

        def keep(steps: int, save: Callable[[Path], None]) -> None:
            if steps == files.until and files.state is not None:
                save(files.state)

        run = StepRun(
            settings=self.settings,
            source=self.supernet.folder,
            data=self.data,
            output=self.supernet.folder,
            saved=files.resumed,
            device=self.device,
            tell=tell,
            keep=keep,
            must_stop=lambda: done == files.until or is_unwanted(),
        )
        try:
            learnt(run, self.supernet, subnet, self.rows, own)
        except StepStoppedError:
            if done != files.until:
                raise


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
