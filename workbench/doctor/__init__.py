"""``q2q doctor``: is this machine ready, and if not, what is to be done? Changes nothing."""

from workbench.doctor.check import Check, State
from workbench.doctor.run import run_checks

__all__ = ["Check", "State", "run_checks"]
