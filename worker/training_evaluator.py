"""What measures subnets that are trained by themselves first."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from elasticnas.api_schemas.spaces import SubnetChoices
from elasticnas.supernet.measuring.measure import EvaluationUnwantedError, Measured
from elasticnas.supernet.methods.step import StepStoppedError
from elasticnas.supernet.methods.trained_first import TrainedFirst
from elasticnas.worker.evaluator import SubnetAsked, SupernetEvaluator


@dataclass
class TrainingEvaluator:
    """Trains a subnet, then measures it as ``measuring`` does. Nothing is kept between subnets, but
    for the file that is asked for.

    A subnet that is taken up again after a worker died is trained anew, to the same weights.
    """

    measuring: SupernetEvaluator
    training: TrainedFirst

    @property
    def rows(self) -> int:
        """How many rows a subnet is measured on."""
        return self.measuring.rows

    @property
    def tokens(self) -> int:
        """How many tokens a subnet is run on, in training and in measuring."""
        return self.training.tokens + self.measuring.tokens

    @property
    def token_budget(self) -> int:
        """Tokens of a batch that is measured, at most; training has rows to a batch."""
        return self.measuring.token_budget

    def measure(
        self, asked: SubnetAsked, is_unwanted: Callable[[], bool], *, share: bool
    ) -> Measured:
        """See `Evaluator.measure`; ``is_unwanted`` is asked after every step of the training, too.

        Trained weights are no other subnet's: there is nothing to ``share``.
        """
        del share
        subnet = self.training.supernet.space.subnet(asked.subnet)
        try:
            own = self.training.subnet(subnet, is_unwanted, asked.training)
        except StepStoppedError as error:
            raise EvaluationUnwantedError from error
        alone = copy.copy(self.measuring)  # with its batches: a subnet is where its supernet is
        alone.supernet = own
        return alone.measure(asked, is_unwanted, share=False)

    def halve_batches(self) -> bool:
        """See `Evaluator.halve_batches`."""
        return self.measuring.halve_batches()

    def place(self, subnet: SubnetChoices) -> tuple[int, ...]:
        """The same for all: nothing is shared."""
        del subnet
        return ()
