"""Models: list, and one model."""
