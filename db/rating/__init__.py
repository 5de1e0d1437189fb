"""Ratings, the queues that they are given in, and what they come to."""
