"""A search's events as they happen, and those that a client has missed."""
