"""How far a model served in another precision is from its 16-bit weights."""
