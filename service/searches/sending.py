"""What a coordinator sends to workers, and when: evaluations by fair shares, and verifications."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from elasticnas.api_schemas.messages import EvaluateSubnets, Message
from elasticnas.api_schemas.searches import SearchState
from elasticnas.service.outage import Outage
from elasticnas.service.queue import Queue, QueueUnavailableError
from elasticnas.service.searches.active import ActiveSearch, Batch
from elasticnas.service.searches.crew import Crew
from elasticnas.service.searches.dispatch import FairShare

MESSAGES_PER_WORKER = 2
MIN_MESSAGES = 4
"""How many messages may be out: enough that no worker waits, few enough that the
next one (another search's batch, or none after a cancel) is not far behind."""


class Sender:
    """Puts the messages of all searches that a coordinator drives into the queue.

    Args:
        queue: where the messages go.
        outage: told where the queue cannot be reached; what was not sent is sent the next time.
        lease_seconds: how long a worker may be silent about a verification that it has.
    """

    def __init__(self, queue: Queue, outage: Outage, lease_seconds: float) -> None:
        self._queue = queue
        self._outage = outage
        self._lease_seconds = lease_seconds
        self._shares = FairShare()

    def forget(self, search_id: str) -> None:
        """The search is over, or another process drives it."""
        self._shares.forget(search_id)

    def evaluations(
        self, searches: Mapping[str, ActiveSearch], crew: Crew, generation: str
    ) -> list[EvaluateSubnets]:
        """Send as much as the workers can use soon, shared fairly among the searches.

        Returns what the queue of this ``generation`` holds now.
        """
        # What no living worker can measure is not sent, and takes no room from the rest.
        measurable = [each for each in searches.values() if not crew.size or _able(crew, each)]
        out = sum(active.outstanding for active in measurable)
        room = max(MIN_MESSAGES, MESSAGES_PER_WORKER * crew.size) - out
        waiting = {
            active.id: active.request.weight
            for active in measurable
            if active.state == SearchState.RUNNING and active.unsent()
        }
        sent: list[EvaluateSubnets] = []
        while waiting and room > 0:
            active = searches[self._shares.next(waiting)]
            message = active.message(_able(crew, active))
            if not self._put(message):
                break
            batch = Batch(generation, time.monotonic())
            for item in message.subnets:
                active.in_flight[item.number].batch = batch
            seconds = active.mean_seconds * len(message.subnets)
            self._shares.charge(active.id, seconds, active.request.weight)
            sent.append(message)
            room -= 1
            if not active.unsent():
                del waiting[active.id]
        return sent

    def verifications(self, active: ActiveSearch, crew: Crew, generation: str) -> None:
        """Have the front measured once more, where that is not under way."""
        able = _able(crew, active)
        if crew.size and not able:
            return
        lease = self._lease_seconds if able else math.inf
        numbers = active.unverified(generation, lease, crew.evaluating)
        if numbers:  # what was said of a search that goes on may not have reached the broker
            self._queue.release(active.id)
        for message in active.verifications(numbers):
            if not self._put(message):
                return
            batch = Batch(generation, time.monotonic())
            for item in message.subnets:
                active.to_verify[item.number].batch = batch

    def _put(self, message: Message) -> bool:
        """Have the queue take a message; False where it cannot be reached."""
        try:
            self._queue.send(message)
        except QueueUnavailableError as error:
            self._outage.goes_on(error)
            return False
        return True


def _able(crew: Crew, active: ActiveSearch) -> int:
    return crew.able(active.conditions.precision)
