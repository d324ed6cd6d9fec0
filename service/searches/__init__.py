"""Searches: creating them, driving them, reading their results."""
