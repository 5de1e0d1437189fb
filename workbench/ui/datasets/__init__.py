"""Datasets: list, form, import, one dataset."""
