"""The page: a client of the public REST that runs in the browser."""
