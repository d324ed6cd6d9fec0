"""Which groups of adapters deserve to be kept: gates that are learnt on rows of their own."""
