"""What a worker does with each kind of message: a file registers its handler as it is imported."""

from elasticnas.worker.handlers import evaluate, export, inspect, run_step, verify

__all__ = ["evaluate", "export", "inspect", "run_step", "verify"]
