"""Jobs: what workers do step by step, for minutes to days."""
