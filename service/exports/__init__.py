"""Exports: a chosen subnet's weights, built by a worker on demand."""
