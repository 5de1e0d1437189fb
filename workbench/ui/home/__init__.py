"""Home: the next step, counts, engines, running jobs."""
