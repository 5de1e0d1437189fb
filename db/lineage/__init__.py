"""Lineage: what a thing came from, and what came of it."""
