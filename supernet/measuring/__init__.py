"""Measuring subnets: rows become batches, batches raw numbers, those the outcomes of a task."""
