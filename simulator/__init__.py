"""A seeded world in which the other rooms run."""
