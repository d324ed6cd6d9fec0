"""What a trained model is cut along, in which order, and to which widths: without any training."""
