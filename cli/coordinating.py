"""``elasticnas coordinate``: drives searches, beside servers that only answer requests."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from elasticnas.api_schemas.registry import load_plugins
from elasticnas.cli.extras import demand_extras
from elasticnas.cli.failures import ProcessDiedError
from elasticnas.cli.processes import (
    CLOSING_SECONDS,
    STUCK_SECONDS,
    DataDir,
    RedisUrl,
    SharedDatabaseUrl,
    demand,
    demand_folder,
    demand_locks,
    log_to_stderr,
    open_to_us,
    step_back,
    termination,
    wait,
)

if TYPE_CHECKING:
    from elasticnas.service.settings import ServiceSettings

log = logging.getLogger(__name__)


def coordinate(
    redis_url: RedisUrl = None, database_url: SharedDatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Drive searches, beside servers that only answer requests; as many as you like.

    Each search is driven by one coordinator at a time; when that one dies, another takes over.
    """
    demand_locks()
    demand_extras("server")
    from elasticnas.cli.configuration import Configuration
    from elasticnas.service.settings import ServiceSettings

    log_to_stderr()
    settings = Configuration.find().read(
        ServiceSettings,
        {
            "redis_url": redis_url,
            "database_url": database_url,
            "data_dir": data_dir,
            "coordinate": True,
        },
    )
    step_back(settings)
    demand(settings.redis_url, "redis_url", "where the servers and workers have their queue")
    demand(settings.database_url, "database_url", "the database of the servers")
    demand_folder(settings.data_dir)
    load_plugins(settings.plugins)
    with open_to_us(settings) as settings:
        _coordinate(settings)


def _coordinate(settings: ServiceSettings) -> None:
    from elasticnas.cli.broker import make_broker
    from elasticnas.service.database_errors import DATABASE_ERRORS, is_transient, summary
    from elasticnas.service.lifecycle import close_service, open_service

    silence = settings.worker_silence_seconds
    queue = make_broker(settings.redis_url, silence_seconds=silence)
    try:
        service = open_service(settings, *queue)
    except DATABASE_ERRORS as error:
        if not is_transient(error):
            raise
        raise ProcessDiedError(f"the database cannot be used: {summary(error)}") from error
    driving = service.coordinator
    assert driving is not None
    with termination(CLOSING_SECONDS) as told_to_stop:
        log.info("coordinating")
        try:
            wait(
                told_to_stop,
                settings,
                is_alive=lambda: driving.is_alive and service.queue.is_recording,
                gets_somewhere=lambda: driving.stuck_seconds < STUCK_SECONDS,
            )
        finally:
            close_service(service)
