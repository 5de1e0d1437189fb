"""Training runs: what is asked for, how it is run in a child process, what it came to."""
