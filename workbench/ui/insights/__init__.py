"""Insights: what the ratings say."""
