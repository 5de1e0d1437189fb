"""Rounds: how one begins, what it asks of the models, what it comes to."""
