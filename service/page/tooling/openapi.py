"""Print the OpenAPI document of the service, of which the page's types are made.

python service/page/tooling/openapi.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from dramatiq.brokers.stub import StubBroker

from elasticnas.service.app import create_app
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals


def main() -> None:
    """Describe a service that is never started."""
    broker = StubBroker()
    with tempfile.TemporaryDirectory() as folder:
        settings = ServiceSettings(data_dir=Path(folder))
        print(json.dumps(create_app(settings, broker, LocalSignals(broker)).openapi()))


if __name__ == "__main__":
    main()
