"""``q2q doctor``: is this machine ready, and if not, what is to be done? Changes nothing."""

from db.settings import Settings
from serving.device import resolve_device
from workbench.doctor.check import Check
from workbench.doctor.machine import (
    check_device,
    check_disk,
    check_memory,
    check_packages,
    check_ports,
    check_python,
)
from workbench.doctor.store import check_database, check_model, check_plan


def run_checks(settings: Settings) -> list[Check]:
    """Return what was found on this machine for ``settings``, in under two seconds."""
    device = resolve_device(settings.device)
    return [
        check_python(),
        check_packages(device),
        check_device(device),
        check_memory(settings, device),
        check_disk(settings),
        check_ports(settings),
        check_model(settings, device),
        check_plan(settings),
        check_database(settings),
    ]
