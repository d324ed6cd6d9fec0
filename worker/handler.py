"""What handles one kind of message, and what happens around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from elasticnas.api_schemas.messages import Message, Result
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.registry import Registry
from elasticnas.worker.blobs import BlobStore
from elasticnas.worker.compute import Compute
from elasticnas.worker.deliveries import Deliveries
from elasticnas.worker.failures import as_problem
from elasticnas.worker.guard import Guard
from elasticnas.worker.log_tail import TAIL
from elasticnas.worker.model_cache import ModelCache
from elasticnas.worker.signals import WorkSignals
from elasticnas.worker.steps import Steps

TakenMessage = TypeVar("TakenMessage", bound=Message)


@dataclass
class Activity:
    """What this worker has done and is at: see `WorkerAlive`; any thread may read."""

    evaluations: int = 0
    jobs: tuple[str, ...] = ()

    @contextmanager
    def at(self, jobs: tuple[str, ...]) -> Iterator[None]:
        """Say what this worker is at."""
        self.jobs = jobs
        try:
            yield
        finally:
            self.jobs = ()


@dataclass(frozen=True)
class Tools:
    """What handlers work with; ``send`` is `Outbox.send`."""

    worker: str
    blobs: BlobStore
    signals: WorkSignals
    models: ModelCache
    compute: Compute
    guard: Guard
    send: Callable[[Result], None]
    scratch: Path
    deliveries: Deliveries
    steps: Steps
    activity: Activity = field(default_factory=Activity)


class Handler(ABC, Generic[TakenMessage]):
    """Does what one message asks for, and sends back the results.

    Every message is answered: what cannot be done comes back as a problem document.
    """

    def __init__(self, tools: Tools, message: TakenMessage) -> None:
        self.tools = tools
        self.message = message

    @abstractmethod
    def handle(self) -> None:
        """Do it, and send what came of it.

        Raises:
            ShuttingDownError: a result could not be sent before the worker had to stop.
        """


class JobHandler(Handler[TakenMessage]):
    """Handles a message that asks for one job and gets one answer.

    Around `answer` the worker says what it is at and counts the attempt; an error of it, and the
    death of three workers, become a problem with this ``title`` and ``problem_type``.
    """

    title: ClassVar[str]
    problem_type: ClassVar[str]

    @property
    @abstractmethod
    def job(self) -> str:
        """What the worker says it is at: an identifier that comes again with the message."""

    @abstractmethod
    def answer(self) -> Result:
        """Do the job."""

    @abstractmethod
    def failure(self, problem: Problem) -> Result:
        """The answer when the job could not be done."""

    def handle(self) -> None:
        """Do the job and send its answer."""
        with self.tools.activity.at((self.job,)):
            self.tools.send(self._attempt())

    def _attempt(self) -> Result:
        try:
            with self.tools.deliveries.attempt(self.job):
                return self.answer()
        except Exception as error:
            return self.failure(as_problem(error, self.title, self.problem_type))


@dataclass(frozen=True)
class _Registered:
    message: type[Message]
    handler: type[Handler[Any]]


HANDLERS: Registry[_Registered] = Registry("handler")
"""Every handler, by the actor that its message names."""

HandlerType = TypeVar("HandlerType", bound=type[Handler[Any]])


def handles(message: type[Message]) -> Callable[[HandlerType], HandlerType]:
    """Register a class as what handles this kind of message."""

    def register(handler: HandlerType) -> HandlerType:
        HANDLERS.register(message.actor, _Registered(message, handler))
        return handler

    return register


def handle(actor: str, payload: str, tools: Tools) -> None:
    """Give the message to its handler.

    Raises:
        ShuttingDownError: a result could not be sent before the worker had to stop.
        KeyError: no handler is registered for this actor.
        ValidationError: the payload is none of its messages.
    """
    registered = HANDLERS[actor]
    message = registered.message.model_validate_json(payload)
    with TAIL.recording():
        registered.handler(tools, message).handle()
