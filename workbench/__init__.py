"""What people touch: the app, the worker that runs jobs, and the command line."""

from pathlib import Path

READING_ONLY = "Q2Q_READING_ONLY"
"""Set in the environment of an app that has no worker beside it."""

EXAMPLES = Path(__file__).parents[1] / "examples"
