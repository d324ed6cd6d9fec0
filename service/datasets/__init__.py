"""Validation data: reading it, checking it, storing it."""
