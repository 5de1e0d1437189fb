"""What can go wrong with a model server.

* EngineError              - (a Q2QError) base of all
  + EngineUnavailable      - the server cannot start, or nothing answers at its address
    - ServerMisconfigured  - and asking again is useless until somebody changes a setting
  + RequestRefused         - the server understood and declined: sending it again is useless
  + RequestFailed          - the server gave nothing usable, after all retries
    - Busy                 - 429 or 503
"""

from db.errors import Q2QError


class EngineError(Q2QError):
    """Something between the workbench and a model server went wrong."""


class EngineUnavailable(EngineError):
    """The server cannot start, or nothing answers at its address. Other requests would fail too."""


class ServerMisconfigured(EngineUnavailable):
    """The way to the server is set up wrongly (certificate, proxy): it is not tried again."""


class RequestRefused(EngineError):
    """The server declines this request, e.g. because it is too long; it is never sent again."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def would_meet_all(self) -> bool:
        """Whether every request would: a wrong key, a model that is gone, a redirect, a proxy."""
        return self.status in (401, 403, 404, 407) or 300 <= self.status < 400


class RequestFailed(EngineError):
    """A stall, a dropped connection, a 5xx or garbage, still so after all retries."""


class Busy(RequestFailed):
    """429 or 503; the server may have said when to come back."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
