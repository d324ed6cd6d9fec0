"""Running subnets: activation, blocks that run in part, packed rows, and shared first layers."""
