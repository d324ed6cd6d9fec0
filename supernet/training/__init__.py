"""Training super-networks: the loop, and its state between two steps."""
