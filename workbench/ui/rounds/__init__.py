"""Rounds: list, form, one round."""
