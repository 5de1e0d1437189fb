"""From a spec file to a planned sweep: what it names is brought into the store first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.engines import list_engines
from db.errors import UsageError
from db.identity import json_hash
from db.jobs import INTERACTIVE_PRIORITY, enqueue
from db.models import find_model
from db.settings import Settings
from db.sweeps import SweepRow, get_sweep, sweep_plan
from db.tables import Sweep
from serving.formats.library import load_registry
from serving.models.register import ensure_default_model
from serving.sweeps.plan import SweepPlan, plan_sweep, save_sweep
from serving.sweeps.selection import DEFAULT_MODEL
from serving.sweeps.spec import load_spec
from workbench.cli.importing import add_examples, import_path
from workbench.worker import run_job

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A sweep in the store for a spec."""

    sweep: SweepRow
    plan: SweepPlan
    is_new: bool


def plan_file(settings: Settings, database: Database, path: Path, say: Say) -> SweepPlan:
    """Return the plan of the spec in ``path``; its questions are imported, its models looked up.

    Raises:
        UsageError: The spec is wrong, or names something that is not there.
    """
    spec = load_spec(path)
    if spec.questions.file is not None:
        done = import_path(database, spec.questions.file)
        if done.added:
            say(f"{done.added} new questions of {spec.questions.file} are in the store.")
    else:
        add_examples(database, say)
    look_for_models(settings, database, [*spec.models, *(spec.answer_models or ())], say)
    with database.write() as session:
        registry = load_registry(settings, session)
    with database.read() as session:
        return plan_sweep(session, spec, registry)


def save_or_find(session: Session, plan: SweepPlan) -> Planned:
    """Return the newest sweep of this very plan, or write one."""
    sweep_id = _find(session, plan)
    is_new = sweep_id is None
    if sweep_id is None:
        sweep_id = save_sweep(session, plan)
    return Planned(sweep=get_sweep(session, sweep_id), plan=plan, is_new=is_new)


def _find(session: Session, plan: SweepPlan) -> int | None:
    """Return the newest sweep whose spec, and all that its names stand for, is the same."""
    spec_hash = json_hash(plan.spec.model_dump(mode="json"))
    resolved = plan.resolved.model_dump(mode="json")
    same_spec = session.scalars(
        select(Sweep.id)
        .where(Sweep.spec_hash == spec_hash, Sweep.purpose == "sweep")
        .order_by(Sweep.id.desc())
    ).all()
    return next((one for one in same_spec if sweep_plan(session, one) == resolved), None)


def look_for_models(settings: Settings, database: Database, names: Sequence[str], say: Say) -> None:
    """Register the default model; ask remote servers where a model is not known yet."""
    if DEFAULT_MODEL in names:
        ensure_default_model(database, settings)
    if all(name == DEFAULT_MODEL or _is_known(database, name) for name in names):
        return
    with database.write() as session:
        if not settings.servers and all(e.kind == "child" for e in list_engines(session)):
            return
        job_id = enqueue(session, "probe_engine", priority=INTERACTIVE_PRIORITY)
    say("Asking the model servers what they offer.")
    run_job(settings, database, job_id, lambda *_: None, command="sweep run")


def _is_known(database: Database, name: str) -> bool:
    with database.read() as session:
        try:
            find_model(session, name)
        except UsageError:
            return False
    return True
