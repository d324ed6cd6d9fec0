"""The worker inside a server, as the service knows it before it says anything itself."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import datetime

from elasticnas.api_schemas.workers import WorkerRead
from elasticnas.service.database import now


@dataclass
class WorkerInside:
    """A worker that loads beside the server; ``device`` is what its setting says.

    Once it has loaded, it gives signs of life as every other worker does.
    """

    device: str
    is_loading: bool = True
    started_at: datetime = field(default_factory=now)

    def read(self) -> WorkerRead:
        """The worker as REST shows it while it loads: nothing is known of what it measures in."""
        return WorkerRead(
            name=f"{socket.gethostname()}-{os.getpid()}",
            device=self.device,
            alive=True,
            loading=True,
            evaluations=0,
            warm_supernets=[],
            precision=None,
            precisions=None,
            started_at=self.started_at,
            last_seen_at=now(),
        )
