"""The model side: reading checkpoints, activating subnets, their cost, exporting and training them.

A super-network is a state dict plus a slicing plan; every subnet is a set of prefix views of it.
"""
