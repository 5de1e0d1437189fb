"""Much writing without keeping others waiting: short transactions, and rests between them."""

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from sqlalchemy.orm import Session

from db.database import Database

LONGEST_S = 0.05
"""A transaction that has lasted so long is committed."""
REST_S = 0.03
"""Rest after a transaction at least; who waits for the lock looks every 25 ms at first."""


class ShortTransactions:
    """One open transaction after the other. A context manager: leaving it commits or rolls back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = ExitStack()
        self._session: Session | None = None
        self._since = 0.0

    def open(self) -> Session:
        """Return the session of the open transaction; begin one if there is none."""
        if self._session is None:
            self._session = self._stack.enter_context(self._database.write())
            self._session.connection()  # takes the lock
            self._since = time.monotonic()
        return self._session

    def rest(self) -> None:
        """Commit and let others write, if the transaction has lasted long enough."""
        lasted_s = time.monotonic() - self._since
        if self._session is not None and lasted_s > LONGEST_S:
            self.commit()
            time.sleep(max(REST_S, lasted_s / 2))

    def commit(self) -> None:
        """Commit the open transaction, if there is one."""
        self._session = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session = None
        self._stack.__exit__(kind, error, trace)
