"""One stream of events for everything that belongs to an owner."""
