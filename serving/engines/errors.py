"""What can go wrong with a model server.

* EngineError            - (a Q2QError) base of all
  + EngineUnavailable    - the server cannot start, or nothing answers at its address
  + RequestRefused       - the server understood and declined (4xx): sending it again is useless
  + RequestFailed        - the server gave nothing usable, after all retries
"""

from db.errors import Q2QError


class EngineError(Q2QError):
    """Something between the workbench and a model server went wrong."""


class EngineUnavailable(EngineError):
    """The server cannot start, or nothing answers at its address. Other requests would fail too."""


class RequestRefused(EngineError):
    """The server declines this request, e.g. because it is too long; it is never sent again."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class RequestFailed(EngineError):
    """A stall, a dropped connection, a 5xx or garbage, still so after all retries."""
