"""Insights: what the ratings say, by the filters in the URL."""

from workbench.ui.insights.insights import draw_insights

draw_insights()
