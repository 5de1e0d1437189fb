"""Reasonings and answers: plain rows of them, lists, cards, a matrix, and how each came to be."""
