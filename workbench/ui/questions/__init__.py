"""Questions: list, one question, import."""
