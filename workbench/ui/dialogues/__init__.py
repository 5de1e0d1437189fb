"""Dialogues: list, form, import, comparison, one dialogue."""
