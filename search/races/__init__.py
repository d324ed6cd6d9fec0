"""Races: a subnet is given up once it will hardly surpass its rival any more."""
