"""Errors that people see: one sentence that names the place and the remedy.

* Q2QError          - something could not be done (exit code 1)
  + UsageError      - the input was wrong (exit code 2)
"""


class Q2QError(Exception):
    """Something could not be done; ``str(error)`` is the sentence for people."""

    exit_code = 1


class UsageError(Q2QError):
    """What was given is wrong; the sentence says where and what to do."""

    exit_code = 2
