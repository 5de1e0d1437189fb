"""Migrations of the store, run by ``db.store.schema``."""
