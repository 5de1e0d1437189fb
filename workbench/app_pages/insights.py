"""Insights: what the ratings say, by the filters in the URL."""

from workbench.ui.insights_page import draw_insights

draw_insights()
