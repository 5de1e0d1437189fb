"""Search: everything in the store that holds the words typed."""
