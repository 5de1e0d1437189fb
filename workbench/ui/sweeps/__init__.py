"""Sweeps: list, form, one sweep with its results."""
