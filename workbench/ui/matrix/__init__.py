"""The results matrix: its component in the browser, and the pages that show it."""
