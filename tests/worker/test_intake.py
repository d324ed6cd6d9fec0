"""Which message a worker takes next."""

from __future__ import annotations

import time
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from elasticnas.api_schemas.messages import ExportSubnet, InspectSupernet, lane_of
from elasticnas.api_schemas.precision import Precision
from elasticnas.service.signals import LocalSignals
from elasticnas.worker import intake as module
from elasticnas.worker.intake import Intake

MODELS = {name: name * 64 for name in "abc"}


class Desk:
    """A broker with messages, and a worker that holds some models."""

    def __init__(self, held: str = "", *, load: float | None = 0.1, **options: Any) -> None:
        self.broker = StubBroker(middleware=[])
        self.signals = LocalSignals(self.broker)
        self.held = held
        self.intake = Intake(
            self.broker,
            self.signals,
            held=lambda: [lane_of(MODELS[name]) for name in self.held],
            load_seconds=lambda: load,
            **{"alone": False, **options},
        )

    def put(self, what: str) -> None:
        lane = lane_of(MODELS[what]) if what in MODELS else what
        self.broker.declare_queue(lane)
        if what in MODELS:
            self.signals.open_lane(lane)
        self.broker.enqueue(
            dramatiq.Message(queue_name=lane, actor_name=what, args=(), kwargs={}, options={})
        )

    def take(self) -> str | None:
        taken = self.intake.take()
        if taken is None:
            return None
        taken.acknowledge()
        return taken.message.actor_name

    def drain(self) -> list[str]:
        taken = []
        while (name := self.take()) is not None:
            taken.append(name)
        return taken


def test_what_somebody_waits_for_goes_first():
    desk = Desk(held="a")
    for what in ("a", ExportSubnet.queue, InspectSupernet.queue):
        desk.put(what)
    assert desk.drain() == [InspectSupernet.queue, ExportSubnet.queue, "a"]


def test_models_that_are_held_go_before_others_and_take_turns():
    desk = Desk(held="ac", alone=True)
    for what in "aabbcc":
        desk.put(what)
    assert desk.drain() == ["a", "c", "a", "c", "b", "b"]


def test_another_model_is_left_to_a_worker_that_holds_it_for_as_long_as_loading_takes():
    desk = Desk(held="a", load=0.1)
    desk.put("b")
    assert desk.take() is None
    time.sleep(0.15)
    assert desk.take() == "b"


def test_the_wait_starts_anew_when_another_worker_takes_the_head():
    desk = Desk(held="a", load=0.2)
    desk.put("b")
    desk.put("b")
    assert desk.take() is None
    time.sleep(0.15)
    other = desk.broker.consume(lane_of(MODELS["b"]), prefetch=1, timeout=10)
    assert next(other) is not None
    assert desk.take() is None
    time.sleep(0.1)
    assert desk.take() is None
    time.sleep(0.15)
    assert desk.take() == "b"


def test_a_model_that_nobody_takes_does_not_starve(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "STARVING_SECONDS", 0.1)
    desk = Desk(held="a", load=0.01)
    desk.put("b")
    desk.put("a")
    assert desk.take() == "a"
    time.sleep(0.12)
    desk.put("a")
    assert desk.take() == "b"


def test_alone_or_without_affinity_nothing_waits():
    for options in ({"alone": True}, {"affinity": False}):
        desk = Desk(held="a", load=10.0, **options)
        desk.put("b")
        assert desk.take() == "b"


def test_a_precision_that_this_worker_does_not_compute_in_is_left_to_others():
    narrow = Desk(held="a", alone=True, precisions=(Precision.FLOAT32,))
    wide = lane_of(MODELS["a"], Precision.BFLOAT16)
    assert wide != lane_of(MODELS["a"])
    for lane, name in ((wide, "wide"), (lane_of(MODELS["a"]), "narrow")):
        narrow.broker.declare_queue(lane)
        narrow.signals.open_lane(lane)
        narrow.broker.enqueue(
            dramatiq.Message(queue_name=lane, actor_name=name, args=(), kwargs={}, options={})
        )
    assert narrow.drain() == ["narrow"]
    able = Intake(narrow.broker, narrow.signals, held=tuple, load_seconds=lambda: 0.0, alone=True)
    taken = able.take()
    assert taken is not None
    assert taken.message.actor_name == "wide"


def test_only_one_message_is_held_at_a_time():
    desk = Desk(held="a")
    desk.put("a")
    desk.put("a")
    first = desk.intake.take()
    assert first is not None
    other = desk.broker.consume(lane_of(MODELS["a"]), prefetch=1, timeout=10)
    assert next(other) is not None
