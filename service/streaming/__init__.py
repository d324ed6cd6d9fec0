"""The events of searches and jobs as they happen, and those that a client has missed."""
