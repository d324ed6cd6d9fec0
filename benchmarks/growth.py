"""How the service's steps grow with a search: evaluations recorded, size of the front.

    python -m benchmarks.growth
    python -m benchmarks.growth --database-url postgresql+psycopg://postgres@127.0.0.1/growth

Processor time of the search loop for an evaluation, proposal included, as evaluations come (60
dimensions); for a point that enters a front, by its size; and what polls of a search take, by
its evaluations and its front. The database must be empty; the default is SQLite.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, inspect, select, update

from benchmarks.problems.analytic import analytic
from benchmarks.search import search_loop
from benchmarks.steps import take_statistics
from elasticnas.search.pareto import ParetoArchive
from elasticnas.service.database import Database
from elasticnas.service.searches.tables import EvaluationRow, FrontPointRow, SearchRow
from tests.service.running import Running, running_service

POLLS = 20


def loop_growth(strategy: str, marks: list[int]) -> list[float]:
    """Milliseconds of processor time for an evaluation, between each mark and the one before."""
    problem = analytic(0, layers=20)
    loop = search_loop(problem, {"name": strategy}, seed=0, evaluations=marks[-1])
    waiting = deque(loop.start())
    found, count, spent = [], 0, 0.0
    for before, mark in zip([0, *marks], marks, strict=False):
        while count < mark:
            proposal = waiting.popleft()
            metrics = {"accuracy": problem.measure(proposal.subnet)}
            start = time.process_time()
            waiting.extend(loop.record(proposal.number, metrics).proposals)
            spent += time.process_time() - start
            count += 1
        found.append(1000 * spent / (mark - before))
        spent = 0.0
    return found


def archive_growth(objectives: int, size: int) -> float:
    """Milliseconds of processor time for a point that enters a front of ``size``."""
    rng = np.random.default_rng(0)
    points = rng.random((size + POLLS, objectives))
    points[:, -1] = objectives - points[:, :-1].sum(axis=1)  # on a plane none dominates another
    archive = ParetoArchive(np.full(objectives, objectives + 1.0))
    archive.numbers = list(range(size))
    archive._losses = points[:size]
    start = time.process_time()
    for number, point in enumerate(points[size:], start=size):
        archive.add(number, point)
    return 1000 * (time.process_time() - start) / POLLS


@contextmanager
def grown_search(url: str, folder: Path, evaluations: int, front: int) -> Any:
    """A service with a search of so many evaluations, so many of them on the front."""
    with running_service(url, folder) as running:
        search_id = running.search(budget={"evaluations": 30})
        running.wait(search_id)
        service = running.client.app.state.service  # type: ignore[attr-defined]
        _grow(service.database, search_id, evaluations, front)
        take_statistics(service.database)
        gc.collect()
        gc.freeze()  # as `elasticnas serve` does: what imports made is not gone through again
        yield running, f"/v1/searches/{search_id}"


def _grow(database: Database, search_id: str, evaluations: int, front: int) -> None:
    with database.write() as session:
        row = session.scalars(
            select(EvaluationRow).where(EvaluationRow.search_id == search_id).limit(1)
        ).one()
        columns = [attribute.key for attribute in inspect(EvaluationRow).column_attrs]
        like = {name: getattr(row, name) for name in columns}
        for start in range(30, evaluations, 5000):
            numbers = range(start, min(evaluations, start + 5000))
            session.execute(
                insert(EvaluationRow),
                [{**like, "number": n, "sequence": n + 1, "subnet_key": f"{n}"} for n in numbers],
            )
        session.execute(delete(FrontPointRow).where(FrontPointRow.search_id == search_id))
        moment = datetime.now(UTC)
        session.execute(
            insert(FrontPointRow),
            [
                {
                    "search_id": search_id,
                    "number": n,
                    "entered_sequence": n + 1,
                    "entered_at": moment,
                }
                for n in range(front)
            ],
        )
        session.execute(
            update(SearchRow)
            .where(SearchRow.id == search_id)
            .values(completed=evaluations, recorded=evaluations, front_size=front)
        )


def polls(running: Running, url: str) -> dict[str, float]:
    """Milliseconds for each kind of poll, the median of a few."""
    client = running.client
    service = client.app.state.service  # type: ignore[attr-defined]

    def moved_on() -> None:
        with service.database.write() as session:
            session.execute(update(SearchRow).values(front_revision=SearchRow.front_revision + 1))

    etag = client.get(f"{url}/front").headers["etag"]
    return {
        "front, unchanged": _milliseconds(
            lambda: client.get(f"{url}/front", headers={"If-None-Match": etag}), 304
        ),
        "front, as another saw it": _milliseconds(lambda: client.get(f"{url}/front"), 200),
        "front, changed": _milliseconds(lambda: client.get(f"{url}/front"), 200, before=moved_on),
        "search": _milliseconds(lambda: client.get(url), 200),
        "100 evaluations": _milliseconds(
            lambda: client.get(f"{url}/evaluations", params={"limit": 100}), 200
        ),
    }


def _milliseconds(
    ask: Callable[[], Any], status: int, *, before: Callable[[], None] = lambda: None
) -> float:
    taken = []
    for _ in range(POLLS):
        before()
        start = time.perf_counter()
        answer = ask()
        taken.append(1000 * (time.perf_counter() - start))
        assert answer.status_code == status, answer.text
    return float(np.median(taken))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database-url")
    parser.add_argument("--strategies", nargs="+", default=["pareto", "nsga2", "random"])
    parser.add_argument("--marks", nargs="+", type=int, default=[500, 1000, 2000, 3000, 4000, 5000])
    options = parser.parse_args()

    print("| ms for an evaluation up to |", *(f"{mark:,} |" for mark in options.marks))
    for strategy in options.strategies:
        cells = loop_growth(strategy, options.marks)
        print(f"| {strategy} |", *(f"{each:.1f} |" for each in cells), flush=True)
    sizes = [100, 1000, 10_000]
    print("\n| ms for a point that enters a front of |", *(f"{size:,} |" for size in sizes))
    for objectives in (2, 3):
        cells = [archive_growth(objectives, size) for size in sizes]
        print(f"| {objectives} objectives |", *(f"{each:.2f} |" for each in cells))
    print()
    for evaluations, front in ((1_000, 50), (10_000, 50), (100_000, 50), (100_000, 10_000)):
        with tempfile.TemporaryDirectory(prefix="elasticnas-growth-") as name:
            url = options.database_url or f"sqlite:///{name}/growth.db"
            with grown_search(url, Path(name), evaluations, front) as (running, where):
                found = polls(running, where)
        print(f"{evaluations:,} evaluations, {front:,} on the front:", end=" ")
        print(", ".join(f"{kind} {each:.1f} ms" for kind, each in found.items()), flush=True)


if __name__ == "__main__":
    main()
