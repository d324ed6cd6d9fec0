"""Takes evaluations off the queue, keeps models warm, returns metrics. Never sees the database."""
