"""Search: everything that holds the words in the URL."""

from workbench.ui.search.hits import draw_search

draw_search()
