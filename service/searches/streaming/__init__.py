"""A search's events as they happen, and the ones that a client has missed."""
