"""What a client raises when a request comes to nothing."""

from __future__ import annotations

from elasticnas.api_schemas.problems import Problem


class ServerProblemError(Exception):
    """The server refused a request; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


class RepeatedProblemError(ServerProblemError):
    """The answer to a request that may have been carried out once before."""


class ServerUnreachableError(Exception):
    """No ElasticNAS server answers at this address, or a proxy before it does not."""
