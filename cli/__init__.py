"""The ``elasticnas`` command: composes the processes, and speaks REST as a client."""
