"""Measure a subnet in a process of its own that hangs, and say what came of it as JSON.

The process of its own imports this too, as multiprocessing has it import the main module.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from elasticnas.supernet.measuring import measure


def hang(*_):
    """Start a process, as a loader of data may, and come back from nothing."""
    if "ignores" in os.environ["HOW"]:
        import signal

        signal.signal(signal.SIGABRT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    started = subprocess.Popen(["sleep", "3600"])
    Path(os.environ["PID_FILE"]).write_text(str(started.pid))
    while True:
        time.sleep(60)


measure.activate = hang

if __name__ == "__main__":
    from elasticnas.api_schemas.conditions import Conditions
    from elasticnas.tasks import TEXT_CLASSIFICATION
    from elasticnas.worker.evaluator import SubnetAsked
    from elasticnas.worker.isolation import Measurement, measure_apart

    found = measure_apart(
        Measurement(
            checkpoint=Path(sys.argv[1]),
            dataset=Path(sys.argv[2]),
            conditions=Conditions(
                supernet="", dataset="", task=TEXT_CLASSIFICATION.name, max_length=32
            ),
            pilots=(),
            asked=SubnetAsked({}),
            device="cpu",
            token_budget=512,
            memory_bytes=2**30,
            limit_seconds=2.0,
        ),
        lambda: "unwanted" in os.environ["HOW"] and Path(os.environ["PID_FILE"]).is_file(),
    )
    left = Path(os.environ["PID_FILE"]).read_text()
    try:
        psutil.Process(int(left)).wait(timeout=60)  # a kill takes effect a moment later
        lives = False
    except psutil.NoSuchProcess:
        lives = False
    except psutil.TimeoutExpired:
        lives = psutil.Process(int(left)).status() != psutil.STATUS_ZOMBIE
    print(json.dumps({"problem": found.model_dump(), "left_running": lives}))
