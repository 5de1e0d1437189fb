"""Explore: the matrix of questions and reasonings, one item, two texts side by side."""
