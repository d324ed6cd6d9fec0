"""What is measured: rows, prompts, outcomes, metrics. No torch."""
