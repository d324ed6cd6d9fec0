"""One method for each thing that a server can be asked for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx2
from pydantic import RootModel

from elasticnas.api_schemas.comparison import ComparisonRead
from elasticnas.api_schemas.costs import CostReport, CostsRead, PricedSubnet
from elasticnas.api_schemas.datasets import DatasetRead
from elasticnas.api_schemas.feasibility import FeasibilityRead
from elasticnas.api_schemas.fields import Choice
from elasticnas.api_schemas.jobs import JobKind, JobRead, JobState, StepProduct
from elasticnas.api_schemas.meta import Meta
from elasticnas.api_schemas.plots import PictureFormat, PlotKind
from elasticnas.api_schemas.points import PointsRead
from elasticnas.api_schemas.problems import InputError, Problem
from elasticnas.api_schemas.searches import EvaluationRead, FrontRead, SearchRead
from elasticnas.api_schemas.spaces import LayersRead, SpaceRead
from elasticnas.api_schemas.supernets import AnySupernet, SupernetPending, SupernetRead
from elasticnas.api_schemas.weights import ExportsRead
from elasticnas.client.connection import DEFAULT_SERVER, Connection, retry_after
from elasticnas.client.download import OnBytes, download
from elasticnas.client.encoding import as_unicode, json_body, json_text, resource_path
from elasticnas.client.errors import RepeatedProblemError, ServerProblemError
from elasticnas.client.event_stream import (
    EventReader,
    JobEvent,
    OverviewEvent,
    SearchEvent,
    followed,
)

ANY_SUPERNET = RootModel[AnySupernet]

UPLOAD_TIMEOUT = httpx2.Timeout(30.0, read=600.0)
"""What is uploaded is unpacked and stored before the server answers."""
WAIT_SECONDS = 10
"""How long one request waits for a worker to have read a checkpoint."""

Filter = str | float | bool | Sequence[str] | None
"""What a list may be asked for; None: anything."""

Transition = Literal["pause", "resume", "cancel", "extend", "retry"]


class Client:
    """Speaks to one server; as a context manager, it closes its connections at the end.

    A request is made again, a few times, where that cannot do its work twice: when it found no
    server, when the server said by Retry-After that it did nothing yet, and after a lost answer if
    it only reads, deletes, or carries an Idempotency-Key.

    Args:
        server: its URL.
        transport: stands in for the network, in tests.

    Raises:
        InputError: ``server`` is no URL, the proxy before it cannot be used, or a number of a
            request is infinite or none.
        ServerProblemError: the server answered with a problem document.
        ServerUnreachableError: it did not answer at all, or something else answered.
    """

    def __init__(
        self, server: str = DEFAULT_SERVER, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._connection = Connection(server, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the server."""
        self._connection.close()

    def is_ready(self) -> bool:
        """True when the server can take work; asks once."""
        return self._connection.answers_well("/readyz")

    def meta(self) -> Meta:
        """What the server is and can do: version, limits, tasks, costs, strategies, recipes."""
        return self._connection.read("/v1/meta", Meta)

    # -- super-networks and datasets ---------------------------------------------------------

    def add_supernet(
        self,
        archive: Path,
        name: str | None,
        on_wait: Callable[[SupernetPending], None] | None = None,
    ) -> SupernetRead:
        """Upload a checkpoint archive, and wait until a worker has read it, however long it takes.

        ``on_wait`` is told of it once it is there, and every ten seconds while it is being read.
        """
        fields = {} if name is None else {"name": name}
        answer = self._upload("/v1/supernets", "archive", archive, fields)
        found = self._connection.parsed(ANY_SUPERNET, answer).root
        while not isinstance(found, SupernetRead):
            if found.state == "failed":
                unexplained = Problem(title="failed", status=422, detail="no reason was given")
                raise ServerProblemError(found.problem or unexplained)
            if on_wait is not None:
                on_wait(found)
            found = self._once_read(found.id)
        return found

    def _once_read(self, supernet_id: str) -> SupernetRead | SupernetPending:
        """A super-network once a worker has read it, or after a while if none has."""
        path = resource_path("supernets", supernet_id)
        answer = self._connection.send("GET", path, headers={"Prefer": f"wait={WAIT_SECONDS}"})
        found = self._connection.parsed(ANY_SUPERNET, answer).root
        if found.state == "reading":
            time.sleep(retry_after(answer) or 0.0)
        return found

    def _upload(
        self,
        path: str,
        part: str,
        file: Path,
        fields: dict[str, str],
        key: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a file as one part of a form, beside the form's fields.

        ``key`` is the header without which it is not sent again after a lost answer.
        """
        with file.open("rb") as content:
            return self._connection.send(
                "POST",
                path,
                files={part: (as_unicode(file.name), content)},
                data={name: as_unicode(value) for name, value in fields.items()},
                headers=key,
                is_repeatable=key is not None,
                timeout=UPLOAD_TIMEOUT,
            )

    def supernets(self, **filters: Filter) -> Iterator[SupernetRead | SupernetPending]:
        """All super-networks, the newest first, those that are not ready too.

        ``filters`` are those of ``GET /v1/supernets``: q, tag, state, method, sort.
        """
        return self._connection.pages("/v1/supernets", ANY_SUPERNET, params=_sent(filters))

    def supernet(self, supernet_id: str) -> SupernetRead | SupernetPending:
        """One super-network."""
        return self._connection.read(resource_path("supernets", supernet_id), ANY_SUPERNET).root

    def space(self, supernet_id: str) -> SpaceRead:
        """Its search space."""
        return self._connection.read(resource_path("supernets", supernet_id, "space"), SpaceRead)

    def cost(
        self, supernet_id: str, subnet: dict[str, int], max_length: int | None = None
    ) -> CostReport:
        """What a subnet costs."""
        answer = self._connection.send(
            "POST",
            resource_path("supernets", supernet_id, "cost"),
            **json_body({"subnet": subnet, "max_length": max_length}),
            is_repeatable=True,
        )
        return self._connection.parsed(CostReport, answer)

    def layers(self, supernet_id: str) -> LayersRead:
        """Its search space layer by layer."""
        return self._connection.read(resource_path("supernets", supernet_id, "layers"), LayersRead)

    def costs(
        self,
        supernet_id: str,
        subnets: Sequence[Mapping[str, Choice]],
        max_length: int | None = None,
        *,
        per_layer: bool = False,
    ) -> CostsRead:
        """What many subnets cost; with ``per_layer``, layer by layer."""
        body = {"subnets": list(subnets), "max_length": max_length, "per_layer": per_layer}
        path = resource_path("supernets", supernet_id, "costs")
        answer = self._connection.send("POST", path, **json_body(body), is_repeatable=True)
        return self._connection.parsed(CostsRead, answer)

    def model_dict(
        self, supernet_id: str, model_dict: Mapping[str, Any], max_length: int | None = None
    ) -> PricedSubnet:
        """The subnet that has the layers of a FlexiBERT ``modelDict``, and what it costs."""
        body = {"model_dict": dict(model_dict), "max_length": max_length}
        path = resource_path("supernets", supernet_id, "model-dict")
        answer = self._connection.send("POST", path, **json_body(body), is_repeatable=True)
        return self._connection.parsed(PricedSubnet, answer)

    def feasibility(
        self,
        supernet_id: str,
        constraints: Sequence[Mapping[str, Any]] = (),
        max_length: int | None = None,
    ) -> FeasibilityRead:
        """What constraints, such as ``{"cost": "gflops", "max": 8}``, leave of the space."""
        body = {"constraints": list(constraints), "max_length": max_length}
        path = resource_path("supernets", supernet_id, "feasibility")
        answer = self._connection.send("POST", path, **json_body(body), is_repeatable=True)
        return self._connection.parsed(FeasibilityRead, answer)

    def add_dataset(self, file: Path, fields: dict[str, str]) -> DatasetRead:
        """Upload validation data; ``fields`` are the form fields beside the file."""
        answer = self._upload("/v1/datasets", "file", file, fields)
        return self._connection.parsed(DatasetRead, answer)

    def datasets(self, **filters: Filter) -> Iterator[DatasetRead]:
        """All datasets, the newest first; ``filters``: q, tag, task, sort."""
        return self._connection.pages("/v1/datasets", DatasetRead, params=_sent(filters))

    def annotate(
        self, kind: Literal["supernets", "datasets", "searches"], identifier: str, **changes: Any
    ) -> None:
        """Write a ``name``, ``notes`` or ``tags`` on something; what is not given stays."""
        path = resource_path(kind, identifier)
        self._connection.send("PATCH", path, **json_body(changes), is_repeatable=True)

    def dataset(self, dataset_id: str) -> DatasetRead:
        """One dataset."""
        return self._connection.read(resource_path("datasets", dataset_id), DatasetRead)

    def delete(self, kind: str, identifier: str) -> None:
        """Delete one of ``supernets``, ``datasets``, ``searches`` or ``jobs``."""
        try:
            self._connection.send("DELETE", resource_path(kind, identifier))
        except RepeatedProblemError as error:
            if error.problem.status != 404:  # gone by the first try, whose answer was lost
                raise

    # -- searches ----------------------------------------------------------------------------

    def start_search(self, request: dict[str, Any]) -> SearchRead:
        """Submit a search; ``request`` is the body of ``POST /v1/searches``.

        However often the request is made, it starts one search.
        """
        answer = self._connection.send(
            "POST",
            "/v1/searches",
            **json_body(request, {"Idempotency-Key": uuid.uuid4().hex}),
            is_repeatable=True,
        )
        return self._connection.parsed(SearchRead, answer)

    def searches(self, **filters: Filter) -> Iterator[SearchRead]:
        """All searches, the newest first.

        ``filters`` are those of ``GET /v1/searches``: q, tag, state, supernet_id, dataset_id, sort.
        """
        return self._connection.pages("/v1/searches", SearchRead, params=_sent(filters))

    def request(self, search_id: str) -> dict[str, Any]:
        """The request of a search as it was given, for `start_search`."""
        path = resource_path("searches", search_id, "request")
        return self._connection.read(path, RootModel[dict[str, Any]]).root

    def search(self, search_id: str) -> SearchRead:
        """One search."""
        return self._connection.read(resource_path("searches", search_id), SearchRead)

    def change(self, search_id: str, transition: Transition, **body: float) -> SearchRead:
        """Pause, resume, cancel, extend or retry a search; the body is that of the request."""
        path = resource_path("searches", search_id, transition)
        answer = self._connection.send("POST", path, **json_body(body) if body else {})
        return self._connection.parsed(SearchRead, answer)

    def events(self, search_id: str, after: int | None = None) -> Iterator[SearchEvent]:
        """What happens to a search until it is over, across lost connections.

        ``after`` is the id of the last event already seen; None begins now, 0 with the first.
        """
        path = resource_path("searches", search_id, "events")
        return followed(self._connection, path, EventReader(SearchEvent, after))

    def all_events(self, after: int | None = None) -> Iterator[OverviewEvent]:
        """What happens to all searches and jobs, without end, across lost connections.

        ``after`` is the id of the last event already seen; None begins now, 0 with the first kept.
        """
        return followed(self._connection, "/v1/events", EventReader(OverviewEvent, after))

    def evaluations(self, search_id: str, **filters: Filter) -> Iterator[EvaluationRead]:
        """All evaluations of a search, by number.

        ``filters``: state, on_front, sort, and bounds such as ``max_gflops``.
        """
        path = resource_path("searches", search_id, "evaluations")
        return self._connection.pages(path, EvaluationRead, limit=500, params=_sent(filters))

    def evaluation(self, search_id: str, number: int) -> EvaluationRead:
        """One evaluation of a search."""
        path = resource_path("searches", search_id, "evaluations", number)
        return self._connection.read(path, EvaluationRead)

    def points(
        self, search_id: str, fields: Sequence[str] | None = None, after: int = 0
    ) -> PointsRead:
        """Results as columns, those recorded after the ``after``-th; read on while ``more``.

        ``fields`` are metrics, costs and those of `PointField`; None: number, state, objectives.
        """
        params: dict[str, str | int] = {"after": after}
        if fields is not None:
            params["fields"] = ",".join(fields)
        path = resource_path("searches", search_id, "points")
        return self._connection.parsed(
            PointsRead, self._connection.send("GET", path, params=params)
        )

    def compare(self, search_id: str, a: int, b: int) -> ComparisonRead:
        """What changes from one subnet of a search to another, with paired intervals."""
        path = resource_path("searches", search_id, "compare")
        answer = self._connection.send("GET", path, params={"a": a, "b": b})
        return self._connection.parsed(ComparisonRead, answer)

    def exports(self, search_id: str, number: int) -> ExportsRead:
        """In which formats a subnet's weights can be had, and which are built."""
        path = resource_path("searches", search_id, "subnets", number, "exports")
        return self._connection.read(path, ExportsRead)

    def front(self, search_id: str, **bounds: float) -> FrontRead:
        """The Pareto front; ``bounds`` are filters such as ``max_gflops``."""
        answer = self._front(search_id, **bounds)
        return self._connection.parsed(FrontRead, answer)

    def front_csv(self, search_id: str, **bounds: float) -> str:
        """The Pareto front as CSV, filtered alike."""
        return self._front(search_id, **bounds, format="csv").text

    def _front(self, search_id: str, **params: float | str) -> httpx2.Response:
        path = resource_path("searches", search_id, "front")
        return self._connection.send("GET", path, params=params)

    def plot(self, search_id: str, kind: PlotKind, picture_format: PictureFormat) -> bytes:
        """A picture of a search, as the content of a file."""
        path = resource_path("searches", search_id, "plots", kind.value)
        params = {"format": picture_format.value}
        return self._connection.send("GET", path, params=params).content

    def download_weights(
        self,
        search_id: str,
        number: int,
        weights_format: str,
        target: Path,
        on_bytes: OnBytes | None = None,
    ) -> Path:
        """Wait until a worker has built the weights, then download them to ``target``.

        ``on_bytes`` is told how many bytes of how many are there. A download that breaks off goes
        on where it stopped. The file appears under its name only when it is whole.
        """
        path = resource_path("searches", search_id, "subnets", number, "weights")
        params = {"format": weights_format}
        first_byte = {"Range": "bytes=0-0"}
        while True:
            answer = self._connection.send("GET", path, params=params, headers=first_byte)
            if answer.status_code != 202:
                break
            time.sleep(retry_after(answer) or 1.0)
        etag = answer.headers.get("ETag", "")
        return download(self._connection, path, params, target, etag=etag, on_bytes=on_bytes)

    # -- trainings and jobs ------------------------------------------------------------------

    def start_training(self, request: dict[str, Any], model: Path | None = None) -> JobRead:
        """Have a super-network made; ``request`` is the body of ``POST /v1/trainings``.

        ``model`` is an archive of the pretrained model's folder, unless the body says where the
        server finds it. However often the request is made, it starts one job.
        """
        key = {"Idempotency-Key": uuid.uuid4().hex}
        if model is None:
            answer = self._connection.send(
                "POST", "/v1/trainings", **json_body(request, key), is_repeatable=True
            )
        else:
            fields = {"request": json_text(request)}
            answer = self._upload("/v1/trainings", "archive", model, fields, key)
        return self._connection.parsed(JobRead, answer)

    def finetune(self, search_id: str, number: int, request: dict[str, Any]) -> JobRead:
        """Have a subnet that a search has measured trained on by itself.

        ``request`` is the body of ``POST /v1/searches/{id}/subnets/{number}/finetune``. However
        often it is made, it starts one job, whose step `measure` leaves the model.
        """
        answer = self._connection.send(
            "POST",
            resource_path("searches", search_id, "subnets", number, "finetune"),
            **json_body(request, {"Idempotency-Key": uuid.uuid4().hex}),
            is_repeatable=True,
        )
        return self._connection.parsed(JobRead, answer)

    def jobs(
        self, state: JobState | None = None, kind: JobKind | None = None, **filters: Filter
    ) -> Iterator[JobRead]:
        """All jobs, or those of a state or kind, the newest first; ``filters``: q, sort."""
        wanted = _sent({"state": state, "kind": kind, **filters})
        return self._connection.pages("/v1/jobs", JobRead, params=wanted)

    def job(self, job_id: str) -> JobRead:
        """One job."""
        return self._connection.read(resource_path("jobs", job_id), JobRead)

    def change_job(self, job_id: str, transition: Literal["cancel", "retry"]) -> JobRead:
        """Cancel a job, or let one that failed or was cancelled go on from its last save point."""
        answer = self._connection.send("POST", resource_path("jobs", job_id, transition))
        return self._connection.parsed(JobRead, answer)

    def step_product(self, job_id: str, step: str) -> StepProduct:
        """The files that a completed step of a job has left."""
        return self._connection.read(
            resource_path("jobs", job_id, "steps", step, "product"), StepProduct
        )

    def download_product(
        self, job_id: str, step: str, folder: Path, on_bytes: OnBytes | None = None
    ) -> StepProduct:
        """Download what a step has left into a folder, which is made; files there are replaced.

        ``on_bytes`` is told of each file. A download that breaks off goes on where it stopped.

        Raises:
            InputError: the server names a file outside of the folder.
        """
        product = self.step_product(job_id, step)
        base = resource_path("jobs", job_id, "steps", step, "product")
        for file in product.files:
            target = folder / _relative(file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            path = f"{base}/{quote(file.path)}"
            etag = f'"{file.sha256}"'
            download(self._connection, path, {}, target, etag=etag, on_bytes=on_bytes)
        return product

    def job_events(self, job_id: str, after: int | None = None) -> Iterator[JobEvent]:
        """What happens to a job until it is over, as `events` tells it of a search."""
        path = resource_path("jobs", job_id, "events")
        return followed(self._connection, path, EventReader(JobEvent, after))


def _sent(filters: Mapping[str, Filter]) -> dict[str, Filter]:
    """Those that are given."""
    return {name: value for name, value in filters.items() if value is not None}


def _relative(path: str) -> PurePosixPath:
    """A path that a server named, which must stay inside the folder that it is put under."""
    found = PurePosixPath(path)
    if found.is_absolute() or ".." in found.parts:
        raise InputError(
            "the server names a file outside of the folder",
            field="path",
            value=path,
            remedy="do not trust this server",
        )
    return found
