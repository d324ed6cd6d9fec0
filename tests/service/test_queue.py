"""Messages out, results in."""

from __future__ import annotations

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from elasticnas.api_schemas.messages import InspectSupernet, SubnetExported, WorkerResult
from elasticnas.service.queue import Queue
from elasticnas.service.signals import LocalSignals


@pytest.fixture
def broker() -> StubBroker:
    return StubBroker()


def enqueue(broker: StubBroker, payload: str) -> None:
    broker.enqueue(
        dramatiq.Message(
            queue_name="results", actor_name="record_result", args=(payload,), kwargs={}, options={}
        )
    )


def test_a_message_goes_to_the_queue_and_actor_of_its_class(broker):
    message = InspectSupernet(supernet_id="s", digest="d")
    Queue(broker, LocalSignals(broker)).send(message)
    sent = dramatiq.Message.decode(broker.queues["inspections"].get_nowait())
    assert sent.actor_name == "inspect_supernet"
    assert InspectSupernet.model_validate_json(sent.args[0]) == message


def test_results_are_recorded_one_after_another(broker):
    queue, seen = Queue(broker, LocalSignals(broker)), []
    queue.start(seen.append)
    results = [SubnetExported(export_id=str(i), digest="d", size_bytes=1) for i in range(20)]
    for result in results:
        enqueue(broker, WorkerResult(result=result).model_dump_json())
    broker.join("results", timeout=5000)
    queue.stop()
    assert seen == results


def test_a_result_that_cannot_be_read_does_not_stop_the_others(broker):
    queue, seen = Queue(broker, LocalSignals(broker)), []
    queue.start(seen.append)
    enqueue(broker, '{"result": {"kind": "gossip"}}')
    result = SubnetExported(export_id="e", digest="d", size_bytes=1)
    enqueue(broker, WorkerResult(result=result).model_dump_json())
    broker.join("results", timeout=5000)
    queue.stop()
    assert seen == [result]
