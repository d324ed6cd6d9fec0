"""``elasticnas demo``: the whole main job on one machine, in a few minutes."""
