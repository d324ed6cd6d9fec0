"""What every task is held to: importable, for tasks of one's own."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np

from elasticnas.tasks.metric import METRICS
from elasticnas.tasks.rows import Labels
from elasticnas.tasks.settings import TaskSettings
from elasticnas.tasks.task import TASKS, Outcomes, Raw, Task

SAMPLES = 7


class TaskContract:
    """Subclass it, give the ``task`` and rows of it, and have its methods run by pytest or by hand.

    ``raw`` (rows, numbers) is what its probe computes of some rows, ``labels`` (rows,) are theirs,
    as `Task.labels` makes them.
    """

    task: ClassVar[Task]
    raw: ClassVar[Raw]
    labels: ClassVar[Labels]
    settings: ClassVar[TaskSettings | None] = None

    def test_it_and_its_metrics_are_registered_under_their_names(self) -> None:
        """Requests and stored rows find them."""
        assert TASKS[self.task.name] is self.task
        assert self.task.metrics
        for metric in self.task.metrics:
            assert METRICS[metric.name] is metric

    def test_a_row_has_one_outcome_whatever_rows_are_beside_it(self) -> None:
        """Laps and batches take rows apart."""
        outcomes, turned = self.outcomes(), np.arange(len(self.labels))[::-1]
        assert outcomes.shape == self.labels.shape
        again = self.task.outcomes(self.raw[turned], self.labels[turned], self.said())
        assert np.array_equal(again, outcomes[turned])

    def test_the_metrics_of_many_samples_are_those_of_each(self) -> None:
        """Verification resamples outcomes, all at once."""
        samples = self.outcomes()[self.resamples()]
        values = self.task.values(samples)
        assert list(values) == [metric.name for metric in self.task.metrics]
        for index, sample in enumerate(samples):
            assert self.task.measure(sample) == {n: v[index] for n, v in values.items()}

    def test_metrics_are_finite_and_their_noise_shrinks_with_rows(self) -> None:
        """No search can rank what is not a number."""
        measured = self.task.measure(self.outcomes())
        for metric in self.task.metrics:
            value = np.array([measured[metric.name], metric.ideal])
            few, many = metric.standard_error(value, 20), metric.standard_error(value, 2000)
            assert np.isfinite(value).all()
            assert (few > many).all()
            assert (many > 0).all()

    def test_a_loss_runs_from_the_ideal_to_the_worst(self) -> None:
        """In whichever direction the metric is better."""
        for metric in self.task.metrics:
            assert metric.loss(metric.ideal) == 0.0
            assert metric.loss(metric.worst) == 1.0
            assert metric.is_better(metric.ideal, than=metric.worst)
            assert metric.bound.startswith("min_" if metric.ideal > metric.worst else "max_")

    def test_hits_are_of_each_row_and_the_raced_metric_is_their_share(self) -> None:
        """Races compare hits, and judge by one metric."""
        hits, raced = self.task.hits(self.outcomes()), self.task.raced
        assert (hits is None) == (raced is None)
        if hits is not None and raced is not None:
            assert raced in self.task.metrics
            assert hits.shape == self.labels.shape
            assert hits.dtype == bool
            assert self.task.measure(self.outcomes())[raced.name] == hits.mean()

    def test_its_settings_have_defaults_and_are_kept_as_json(self) -> None:
        """Conditions carry them, and two searches that say the same have the same key."""
        settings = self.said()
        again = self.task.settings_type.model_validate_json(json.dumps(settings.said()))
        assert again == settings

    def test_strata_are_of_each_row(self) -> None:
        """Splits give every part the same share of each."""
        strata = self.task.strata(self.labels)
        assert strata is None or strata.shape == self.labels.shape

    def outcomes(self) -> Outcomes:
        """Of all rows."""
        return self.task.outcomes(self.raw, self.labels, self.said())

    def said(self) -> TaskSettings:
        """The settings, by default the task's own defaults."""
        return self.settings or self.task.settings_type()

    def resamples(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Row numbers, shape (samples, rows)."""
        rows = len(self.labels)
        return np.random.default_rng(0).integers(rows, size=(SAMPLES, rows))
