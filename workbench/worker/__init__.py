"""The one process that runs jobs and owns the model server."""
