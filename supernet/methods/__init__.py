"""How each method makes a super-network: the steps of its recipe."""
