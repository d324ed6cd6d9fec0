"""What every format of checkpoints is held to."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch

from elasticnas.search.cost import cost_report
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.families import logits, padded
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.formats import FORMATS, format_of
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.space_file import SPACE_FILE, read_space, space_file
from elasticnas.supernet.supernet import Supernet


class FormatContract(ABC):
    """Subclass it, name the ``format``, and `write` a small checkpoint of it."""

    format: ClassVar[Format]

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write a whole checkpoint with random weights into the empty ``folder``."""

    def test_it_is_registered_under_its_name(self) -> None:
        """A super-network's ``method`` tells it."""
        assert FORMATS[self.format.name] is self.format

    def test_it_alone_recognises_its_checkpoints(self) -> None:
        """And nothing in an empty folder."""
        with tempfile.TemporaryDirectory() as folder:
            assert not self.format.recognises(Path(folder))
            self.write(Path(folder))
            assert format_of(Path(folder)) is self.format
            assert [f for f in FORMATS.values() if f.recognises(Path(folder))] == [self.format]

    def test_a_checkpoint_is_read_as_of_this_format(self) -> None:
        """With a length to price subnets at."""
        with self.supernet() as supernet:
            assert supernet.method == self.format.name
            assert supernet.reference_length > 0

    def test_every_dimension_makes_a_difference(self) -> None:
        """The last choice of each dimension gives other logits than the maximal subnet's."""
        with self.supernet() as supernet:
            batch = padded(int(supernet.config.vocab_size))
            maximal = logits(supernet, supernet.space.maximal, batch)
            for dimension in supernet.space.dimensions:
                smaller = supernet.space.subnet({dimension.name: dimension.choices[-1]})
                found = logits(supernet, smaller, batch)
                assert not torch.allclose(found, maximal, atol=1e-4), dimension.name

    def test_the_minimal_subnet_has_fewer_parameters(self) -> None:
        """Counted with adapters beside their weights, for a rank merges away."""
        with self.supernet() as supernet:
            model, space = cost_model(supernet), supernet.space
            costs = [cost_report(model, s, 8) for s in (space.minimal, space.maximal)]
            assert costs[0].nonzero_params < costs[1].nonzero_params

    def test_what_is_read_can_be_written_as_a_space_file_and_read_again(self) -> None:
        """The same dimensions, and the same cuts of the same tensors."""
        with self.supernet() as supernet, tempfile.TemporaryDirectory() as folder:
            written = space_file(supernet.space, supernet.plan, supernet.reference_length)
            file = Path(folder) / SPACE_FILE
            file.write_text(written.model_dump_json(exclude_defaults=True), encoding="utf-8")
            again = elastic_part(read_space(file), supernet.shape)
            assert again.space == supernet.space
            assert set(again.plan.cuts) == set(supernet.plan.cuts)
            assert again.plan.presences == supernet.plan.presences
            assert again.reference_length == supernet.reference_length

    @contextmanager
    def supernet(self) -> Iterator[Supernet]:
        """A small super-network of the format, read from a folder that lives as long."""
        with tempfile.TemporaryDirectory() as folder:
            self.write(Path(folder))
            yield read_supernet(Path(folder))
