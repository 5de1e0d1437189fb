"""Question-to-question dialogues: themes, turns, decisions, and the guard against repeats."""
