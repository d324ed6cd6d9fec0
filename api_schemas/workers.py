"""Workers as REST shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class WorkerRead(BaseModel):
    """A worker that has been heard from; ``alive`` when that was within the last 30 seconds."""

    name: str
    device: str
    alive: bool
    evaluations: int
    warm_supernets: list[str]
    started_at: datetime
    last_seen_at: datetime
