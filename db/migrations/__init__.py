"""Migrations of the store, run by ``db.schema``."""
