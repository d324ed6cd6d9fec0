"""``elasticnas worker``: takes work off a queue, one process for each device."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from elasticnas.api_schemas.registry import load_plugins
from elasticnas.cli.extras import demand_extras
from elasticnas.cli.processes import (
    STUCK_SECONDS,
    DataDir,
    Device,
    Dtype,
    RedisUrl,
    demand,
    demand_folder,
    demand_locks,
    log_to_stderr,
    step_back,
    termination,
    wait,
)

log = logging.getLogger(__name__)


def work(
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
    device: Device = None,
    dtype: Dtype = None,
    take: Annotated[
        str | None,
        typer.Option(
            help="Of inspections, evaluations, exports and jobs, separated by commas "
            "[ELASTICNAS_WORKER_TAKE].",
            show_default="all",
        ),
    ] = None,
) -> None:
    """Take work off a Redis queue; one process for each device.

    Blobs come from where the server has them: the same S3 (ELASTICNAS_BLOBS_URL), or a data folder
    that is the server's own, or on the same network share.
    """
    demand_locks()
    demand_extras("worker")
    from elasticnas.cli.broker import make_broker
    from elasticnas.cli.configuration import Configuration, read_worker_settings
    from elasticnas.service.blobs import BlobSettings, make_blobs
    from elasticnas.service.settings import ProcessSettings

    log_to_stderr()
    configuration = Configuration.find()
    process = configuration.read(ProcessSettings, {"redis_url": redis_url})
    step_back(process)
    demand(process.redis_url, "redis_url", "where the servers have their queue")
    storage = configuration.read(BlobSettings, {"data_dir": data_dir})
    settings = read_worker_settings(
        configuration, storage.data_dir, {"device": device, "dtype": dtype, "take": take}
    )
    demand_folder(storage.data_dir)
    load_plugins(process.plugins)
    if storage.blobs_url is None:
        from elasticnas.service.database_lock import demand_shared

        demand_shared(storage.data_dir)
    from elasticnas.worker.runtime import (
        WorkerRuntime,  # torch: seconds that no wrong setting need wait for
    )

    queue = make_broker(process.redis_url, silence_seconds=settings.silence_seconds)
    worker = WorkerRuntime(settings, make_blobs(storage), *queue)
    patience = max(STUCK_SECONDS, 2 * settings.heartbeat_seconds)
    with termination(settings.stop_grace_seconds) as told_to_stop:
        worker.start()
        log.info("worker %s takes work", worker.name)
        try:
            wait(
                told_to_stop,
                process,
                is_alive=lambda: worker.is_alive,
                gets_somewhere=lambda: worker.silent_seconds < patience,
            )
        finally:
            worker.stop()
