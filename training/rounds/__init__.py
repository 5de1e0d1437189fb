"""A round as asked for: what it learns from, where it starts, how it is judged."""
