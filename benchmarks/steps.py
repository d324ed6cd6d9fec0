"""What one evaluation costs the coordinator once a search has so many, and what taking it up costs.

    OMP_NUM_THREADS=1 python -m benchmarks.steps
    OMP_NUM_THREADS=1 python -m benchmarks.steps --strategies random --evaluations 100000 \\
        --database-url postgresql+psycopg://postgres@127.0.0.1/steps

A search of 36 dimensions is given its evaluations as rows, and taken up by the real coordinator on
the real database, as after a restart; then results come one at a time. A step is everything that
follows from one: the transaction that writes it down, and the tick that takes it up, tells the
strategy, moves the front, places the next evaluation and sends it. The figures are processor time
of this process, which has no workers; a database server's is not in it. The default is SQLite;
another database must be empty before each line.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dramatiq.brokers.stub import StubBroker
from pydantic import TypeAdapter
from sqlalchemy import insert, text, update

from benchmarks.capacity import accuracy_of, evaluated, register, search_request
from elasticnas.api_schemas.messages import EvaluateSubnets
from elasticnas.api_schemas.searches import Budget, EvaluationState, SearchCreate, SearchState
from elasticnas.api_schemas.strategies import AnyStrategy, StrategySettings
from elasticnas.search.pareto import ParetoArchive
from elasticnas.service.database import Database, now
from elasticnas.service.lifecycle import close_service, open_service
from elasticnas.service.principal import DEFAULT_OWNER, Principal
from elasticnas.service.result_recorder import Recorder
from elasticnas.service.runtime import Service
from elasticnas.service.searches.active import problem_of
from elasticnas.service.searches.coordinator import Coordinator
from elasticnas.service.searches.creation import create
from elasticnas.service.searches.tables import EvaluationRow, FrontPointRow, SearchRow
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals
from elasticnas.worker.intake import Intake

WINDOW = 8
AT_ONCE = 5000
EVALUATION_SECONDS = 2.0
"""What an evaluation is said to take: so long that each message carries one."""


@dataclass(frozen=True)
class Grown:
    """Processor time with so many evaluations recorded: taking up in seconds, steps in ms."""

    taken_up: float
    steps: np.ndarray


def grown(url: str, folder: Path, strategy: dict[str, Any], evaluations: int, steps: int) -> Grown:
    """Take up a search of so many evaluations, and record a few more."""
    broker = StubBroker()
    signals = LocalSignals(broker)
    settings = ServiceSettings(data_dir=folder, database_url=url, coordinate=False)
    service = open_service(settings, broker, signals)
    try:
        register(service)
        search_id = _search(service, strategy, evaluations + steps + WINDOW)
        _record(service, search_id, evaluations)
        gc.collect()
        gc.freeze()
        coordinator = Coordinator(
            service.database, service.queue, service.reports, settings, exclusive=True
        )
        recorder = Recorder(service.database, wake=lambda: None, halt=lambda *_: None)
        intake = Intake(broker, signals, held=tuple, load_seconds=lambda: 0.0, alone=True)
        start = time.process_time()
        coordinator.tick()
        taken_up = time.process_time() - start
        return Grown(taken_up, _steps(coordinator, recorder, intake, steps))
    finally:
        gc.unfreeze()
        close_service(service)


def _steps(coordinator: Coordinator, recorder: Recorder, intake: Intake, count: int) -> np.ndarray:
    found = []
    for _ in range(count):
        taken = intake.take()
        assert taken is not None, "the coordinator sent nothing"
        message = EvaluateSubnets.model_validate_json(taken.message.args[0])
        items = [(item.number, item.attempt) for item in message.subnets]
        result = evaluated(message.search_id, "none", items, seconds=EVALUATION_SECONDS)
        start = time.process_time()
        recorder.record(result)
        coordinator.tick()
        found.append(1000 * (time.process_time() - start) / len(items))
        taken.acknowledge()
    return np.array(found)


def _search(service: Service, strategy: dict[str, Any], evaluations: int) -> str:
    settings: StrategySettings = TypeAdapter(AnyStrategy).validate_python(strategy)
    changes = {
        "strategy": settings,
        "budget": Budget(evaluations=evaluations),
        "parallel_evaluations": WINDOW,
    }
    return create(
        service, Principal(DEFAULT_OWNER), search_request(0).model_copy(update=changes), None
    ).id


def _record(service: Service, search_id: str, count: int) -> None:
    """Give a search so many recorded evaluations of random subnets, and the front they make."""
    rng = np.random.default_rng(0)
    with service.database.write() as session:
        row = session.get_one(SearchRow, search_id)
        known = service.reports.get(session, row.supernet_id)
        request = SearchCreate.model_validate(row.request)
        objectives = problem_of(request, known, row.max_length).objectives
        archive = ParetoArchive(objectives.reference)
        moment = now()
        for first in range(0, count, AT_ONCE):
            rows = []
            for number in range(first, min(count, first + AT_ONCE)):
                choices = [int(rng.integers(size)) for size in known.space.cardinalities]
                subnet = known.space.decode(choices)
                cost = known.cost(subnet, row.max_length).values()
                metrics = {"accuracy": accuracy_of(number)}
                archive.add(number, objectives.losses(metrics, cost))
                rows.append(
                    {
                        "search_id": search_id,
                        "number": number,
                        "subnet_key": subnet.key,
                        "choices": choices,
                        "cost": cost,
                        "metrics": metrics,
                        "state": EvaluationState.COMPLETED,
                        "origin": "strategy",
                        "worker": "none",
                        "sequence": number + 1,
                        "hypervolume": archive.hypervolume,
                        "duration_seconds": EVALUATION_SECONDS,
                        "sent_at": moment,
                        "started_at": moment,
                        "finished_at": moment,
                    }
                )
            session.execute(insert(EvaluationRow), rows)
        session.execute(
            insert(FrontPointRow),
            [
                {
                    "search_id": search_id,
                    "number": number,
                    "entered_sequence": number + 1,
                    "entered_at": moment,
                }
                for number in archive.numbers
            ],
        )
        session.execute(
            update(SearchRow)
            .where(SearchRow.id == search_id)
            .values(
                state=SearchState.RUNNING,
                completed=count,
                recorded=count,
                front_size=len(archive.numbers),
                hypervolume=archive.hypervolume,
                best_number=archive.numbers[0],
                best_metric=accuracy_of(archive.numbers[0]),
                started_at=moment,
            )
        )
    take_statistics(service.database)


def take_statistics(database: Database) -> None:
    """Do at once what PostgreSQL's autovacuum does within a minute."""
    if database.engine.dialect.name == "postgresql":
        with database.write() as session:
            session.execute(text("ANALYZE"))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database-url")
    parser.add_argument("--strategies", nargs="+", default=["random", "pareto", "nsga2"])
    parser.add_argument("--evaluations", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--steps", type=int, default=48, help="to average: some plan for 16")
    options = parser.parse_args()
    print("| strategy | recorded | taken up, s | a step, median ms | mean ms |")
    print("| --- | --- | --- | --- | --- |")
    for strategy in options.strategies:
        for evaluations in options.evaluations:
            with tempfile.TemporaryDirectory(prefix="elasticnas-steps-") as name:
                url = options.database_url or f"sqlite:///{name}/steps.db"
                found = grown(url, Path(name), {"name": strategy}, evaluations, options.steps)
            median, mean = np.median(found.steps), found.steps.mean()
            print(
                f"| {strategy} | {evaluations:,} | {found.taken_up:.1f} | {median:.1f} |"
                f" {mean:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
