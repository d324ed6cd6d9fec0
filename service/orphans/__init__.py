"""Clearing away blobs that nothing refers to, and what killed processes left behind."""
