"""What travels over REST and the queue. Pydantic models only: no torch, no HTTP, no SQL."""
