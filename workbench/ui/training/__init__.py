"""Training: runs, and one run."""
