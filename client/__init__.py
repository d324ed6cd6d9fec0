"""The Python client of an ElasticNAS server.

from elasticnas.client import Client

with Client("http://127.0.0.1:8000") as client:
    front = client.front("search-…", max_gflops=0.4)
"""

from elasticnas.client.client import Client
from elasticnas.client.connection import DEFAULT_SERVER
from elasticnas.client.errors import ServerProblemError, ServerUnreachableError
from elasticnas.client.event_stream import JobEvent, OverviewEvent, SearchEvent

__all__ = [
    "DEFAULT_SERVER",
    "Client",
    "JobEvent",
    "OverviewEvent",
    "SearchEvent",
    "ServerProblemError",
    "ServerUnreachableError",
]
