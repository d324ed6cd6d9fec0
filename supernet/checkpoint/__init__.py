"""Reading super-network checkpoints: one file for each thing that a checkpoint is made of."""
