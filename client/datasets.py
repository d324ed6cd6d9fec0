"""Requests about validation data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from elasticnas.api_schemas.datasets import DatasetRead
from elasticnas.client.encoding import resource_path
from elasticnas.client.requests import Filter, Requests, given_filters


class DatasetRequests(Requests):
    """The part of the client about datasets."""

    def add_dataset(self, file: Path, fields: dict[str, str]) -> DatasetRead:
        """Upload validation data; ``fields`` are the form fields beside the file."""
        answer = self._upload("/v1/datasets", "file", file, fields)
        return self._connection.parsed(DatasetRead, answer)

    def datasets(self, **filters: Filter) -> Iterator[DatasetRead]:
        """All datasets, the newest first; ``filters``: q, tag, task, sort."""
        return self._connection.pages("/v1/datasets", DatasetRead, params=given_filters(filters))

    def dataset(self, dataset_id: str) -> DatasetRead:
        """One dataset."""
        return self._connection.read(resource_path("datasets", dataset_id), DatasetRead)
