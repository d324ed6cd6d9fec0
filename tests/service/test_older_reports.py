"""A database of the version before dimensions had parts and costs were terms."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.search.space import SearchSpace
from elasticnas.service.database import Database
from elasticnas.service.searches.active import restore
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.supernets.report_cache import ReportCache, ReportedSupernet
from elasticnas.service.supernets.tables import SupernetRow

STORED = json.loads(
    (Path(__file__).parent.parent / "search" / "recorded" / "report.json").read_text("utf-8")
)
"""The report of a small model with a depth and zeros in its base, and costs, as it was then."""
MOMENT = datetime(2026, 11, 28, tzinfo=UTC)
MEASURED = 5
NEWER = {"gflops_per_token", "weight_bytes", "kv_bytes", "adapter_gflops", "adapter_bytes"}
"""Costs that were not counted then."""


def insert(connection: sa.Connection, table_name: str, /, **values: Any) -> None:
    table = sa.Table(table_name, sa.MetaData(), autoload_with=connection)
    connection.execute(table.insert().values(**values))


def supernet_of_before(connection: sa.Connection, supernet_id: str = "s") -> None:
    report = STORED["report"]
    kinds = [dimension["kind"] for dimension in report["dimensions"]]
    summary = {
        **{key: report[key] for key in ("method", "model_type", "num_labels", "max_positions")},
        "reference_length": report["reference_length"],
        "space": {
            "size": 59049,
            "dimensions": len(kinds),
            "kinds": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        },
        "cost": {
            end: STORED["costs"][place]["cost"] for end, place in (("maximal", 0), ("minimal", 2))
        },
    }
    insert(
        connection,
        "supernets",
        id=supernet_id,
        name="n",
        state="ready",
        digest="d",
        size_bytes=1,
        created_at=MOMENT,
        report=report,
        summary=summary,
    )


def search_of_before(connection: sa.Connection) -> None:
    """One that has recorded some evaluations, and begun three more."""
    space = [dimension["choices"] for dimension in STORED["report"]["dimensions"]]
    request = SearchCreate.model_validate(
        {
            "supernet_id": "s",
            "dataset_id": "d",
            "max_length": 64,
            "seed": 3,
            "objectives": ["accuracy", "gflops"],
            "constraints": [{"cost": "params", "max": 13_000}],
            "strategy": {"name": "nsga2", "population_size": 4, "crossover": "layer"},
            "parallel_evaluations": 3,
        }
    )
    insert(
        connection,
        "datasets",
        id="d",
        name="n",
        task="text-classification",
        metric="accuracy",
        rows=100,
        text_columns=["sentence"],
        label_column="label",
        num_labels=2,
        label_names_given=False,
        digest="d",
        size_bytes=1,
        created_at=MOMENT,
    )
    empty = dict.fromkeys(
        ("revision", "last_event", "completed", "given_up", "failed", "cached", "running"), 0
    )
    insert(
        connection,
        "searches",
        id="q",
        state="running",
        request=request.model_dump(mode="json"),
        supernet_id="s",
        dataset_id="d",
        supernet_digest="d",
        dataset_digest="d",
        task="text-classification",
        max_length=64,
        verify_share=0.0,
        reference_point={"accuracy": 0.0, "gflops": 0.01},
        recorded=MEASURED,
        hypervolume=0.0,
        front_size=0,
        front_revision=0,
        elapsed_seconds=0.0,
        created_at=MOMENT,
        **empty,
    )
    for number in range(MEASURED + 3):
        finished = number < MEASURED
        insert(
            connection,
            "evaluations",
            search_id="q",
            number=number,
            subnet_key=str(number),
            choices=[(number + i) % len(choices) for i, choices in enumerate(space)],
            cost={},
            metrics={"accuracy": 0.5 + number / 20} if finished else None,
            state="completed" if finished else "running",
            origin="strategy",
            cached=False,
            verify_attempt=1,
            attempt=1,
            sent_at=MOMENT,
            finished_at=MOMENT if finished else None,
        )


@pytest.fixture
def before(database_url: str):
    opened = Database(database_url)
    opened.migrate("0009")
    with opened.engine.begin() as connection:
        supernet_of_before(connection)
        search_of_before(connection)
        # One that is still being read has no report.
        insert(
            connection,
            "supernets",
            id="reading",
            name="n",
            state="reading",
            digest="e",
            size_bytes=1,
            created_at=MOMENT,
        )
    yield opened
    opened.close()


def known(database: Database) -> ReportedSupernet:
    with database.read() as session:
        return ReportCache().get(session, "s")


def test_every_cost_is_what_it_was_to_the_last_unit(before: Database):
    before.migrate()
    found = known(before)
    assert len(STORED["costs"]) == 24
    for row in STORED["costs"]:
        subnet = found.space.decode(row["choices"])
        cost = found.cost(subnet, row["max_length"])
        assert cost.model_dump(exclude=NEWER) == row["cost"]
        assert NEWER.isdisjoint(cost.values())


def test_dimensions_keep_their_names_and_choices_and_have_parts_and_layers(before: Database):
    before.migrate()
    space = known(before).space
    assert [(d.name, list(d.choices)) for d in space.dimensions] == [
        (d["name"], d["choices"]) for d in STORED["report"]["dimensions"]
    ]
    assert {(d.part, d.layer) for d in space.dimensions} == {
        *((part, layer) for part in ("heads", "ffn", "rank") for layer in range(3)),
        ("blocks", None),
    }
    with before.read() as session:
        summary = session.get_one(SupernetRow, "s").summary
    assert summary is not None
    assert summary["space"]["parts"] == {"heads": 3, "ffn": 3, "rank": 3, "blocks": 1}
    assert "kinds" not in summary["space"]


def test_what_a_depth_keeps_is_said_half_by_half(before: Database):
    before.migrate()
    presences = known(before).report.presences
    assert {(p.layer, p.half, p.when.dimension, p.when.choices) for p in presences} == {
        (layer, half, "depth", tuple(range(3, layer, -1)))
        for layer in (1, 2)
        for half in ("attention", "ffn")
    }


def test_a_search_that_was_stored_goes_on(before: Database):
    before.migrate()
    supernet = known(before)
    with before.read() as session:
        active = restore(session, session.get_one(SearchRow, "q"), supernet)
    assert active.loop.start() == ()  # its window is full
    assert sorted(active.in_flight) == [MEASURED, MEASURED + 1, MEASURED + 2]
    assert active.objectives.reference_point == {"accuracy": 0.0, "gflops": 0.01}
    step = active.loop.record(MEASURED, {"accuracy": 0.8})
    assert [each.number for each in step.proposals] == [MEASURED + 3]
    assert step.proposals[0].cost.params <= 13_000


def test_there_is_no_way_back_while_there_are_reports(before: Database):
    before.migrate("0010")
    config = Config()
    config.set_main_option("script_location", "service:migrations")
    with before.engine.begin() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(RuntimeError, match="delete the super-networks"):
            command.downgrade(config, "0011")


def test_a_report_of_the_new_form_spans_the_space(before: Database):
    before.migrate()
    report = known(before).report
    assert SearchSpace(report.dimensions).size == 59049
