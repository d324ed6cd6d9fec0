"""Building the archive of one subnet's weights."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch

from elasticnas.api_schemas.messages import ExportSubnet, SubnetExported
from elasticnas.api_schemas.problems import Problem
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.export import export_subnet, require_packages, written_bytes
from elasticnas.supernet.methods.trained_first import TrainingFiles, trained_first
from elasticnas.supernet.supernet import Supernet
from elasticnas.worker.handler import JobHandler, handles

_EXPORT = "/export"


def exports_written(scratch: Path, jobs: tuple[str, ...]) -> dict[str, int]:
    """The bytes that there are already of each export among these jobs, by the export's id."""
    exports = [job.removesuffix(_EXPORT) for job in jobs if job.endswith(_EXPORT)]
    return {each: written_bytes(_archive(scratch, each)) for each in exports}


def _archive(scratch: Path, export_id: str) -> Path:
    return scratch / f"{export_id}.zip"


@handles(ExportSubnet)
class ExportHandler(JobHandler[ExportSubnet]):
    """Builds an archive and puts it into blob storage."""

    title = "The weights cannot be exported"
    problem_type = "export-failed"

    @property
    def job(self) -> str:
        """Named after the export."""
        return f"{self.message.export_id}{_EXPORT}"

    def answer(self) -> SubnetExported:
        """The archive's digest."""
        require_packages(self.message.format)
        archive = _archive(self.tools.scratch, self.message.export_id)
        try:
            self._build(archive)
            digest, size = self.tools.blobs.store(archive)
        finally:
            archive.unlink(missing_ok=True)
        return SubnetExported(export_id=self.message.export_id, digest=digest, size_bytes=size)

    def failure(self, problem: Problem) -> SubnetExported:
        """Why there is no archive."""
        return SubnetExported(export_id=self.message.export_id, problem=problem)

    def _build(self, archive: Path) -> None:
        """From the checkpoint read anew: the cached model has another dtype and device, perhaps."""
        with self.tools.models.checkpoint(self.message.supernet_digest) as folder:
            supernet = read_supernet(folder)
            subnet = supernet.space.subnet(self.message.subnet)
            export_subnet(
                self._trained(supernet, subnet),
                subnet,
                self.message.card,
                self.message.format,
                archive=archive,
                folder=self.message.folder,
            )

    def _trained(self, supernet: Supernet, subnet: SubnetConfig) -> Supernet:
        """With the weights that were measured: as the search trained them, or the super-network's.

        In the same memory as evaluations, which gives its own back first. Weights that were kept
        are read, others trained once more.
        """
        fine_tuning, device = self.message.fine_tuning, self.tools.compute.device
        if fine_tuning is None or self.message.task is None:
            return supernet
        self.tools.models.keep_only(None)
        with ExitStack() as stack:
            rows = stack.enter_context(self.tools.blobs.lease(fine_tuning.rows))
            there = supernet.to(device, torch.float32)
            training = trained_first(there, fine_tuning, self.message.task, rows, device)
            kept = self.message.trained
            files = TrainingFiles(
                trained=None if kept is None else stack.enter_context(self.tools.blobs.lease(kept))
            )
            trained = training.subnet(subnet, files=files)
        return trained.to(torch.device("cpu"), torch.float32)
