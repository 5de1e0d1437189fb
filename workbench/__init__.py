"""What people touch: the app, the worker that runs jobs, and the command line."""
