"""The optimiser: search space, ask/tell strategies, Pareto archive. No torch, no HTTP, no SQL."""
