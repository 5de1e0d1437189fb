"""Model folders: the embedded default, digests, what a model says of itself, registration."""
