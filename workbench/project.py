"""Where a project stands: how much each stage of the road holds, what runs, what comes next.

The road: questions, texts of sweeps, ratings, rows of datasets, rounds, and questions again. What
was made last says what comes next. Sweeps that the program starts by itself (of rounds, scoring,
dialogues, comparisons of precisions) are no stage of it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.counts import cached_count
from db.jobs import JobRow, active_jobs
from db.rating.columns import high_water
from db.rating.queues import QueueRow, list_queues
from db.rating.ratings import active_ratings
from db.rounds import RoundRow, list_rounds
from db.store.archive import in_use
from db.tables import (
    Answer,
    Base,
    Dataset,
    DatasetRow,
    Question,
    QueueItem,
    QueueItemState,
    ReasoningVariant,
    Sweep,
)

Stage = Literal["questions", "texts", "ratings", "rows", "rounds"]
Step = Literal[
    "import", "first_sweep", "sweep", "watch", "open", "rate", "rate_on", "dataset", "round",
    "follow", "resume", "compare", "result",
]  # fmt: skip
STAGE_OF: Final[dict[Step, Stage]] = {
    "import": "questions",
    "first_sweep": "texts",
    "sweep": "texts",
    "watch": "texts",
    "open": "texts",
    "rate": "ratings",
    "rate_on": "ratings",
    "dataset": "rows",
    "round": "rounds",
    "follow": "rounds",
    "resume": "rounds",
    "compare": "rounds",
    "result": "rounds",
}
OWN_SWEEPS: Final = "sweep"
"""Purpose of the sweeps that people start."""
JOB_STAGES: Final[dict[str, Stage]] = {
    "sweep": "texts",
    "judge": "ratings",
    "train": "rounds",
    "round": "rounds",
}
"""Kind of a job → the stage that it adds to."""
BROUGHT_IN: Final = ("imported", "example")


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What to do next, and with what."""

    step: Step
    id: int | None = None
    """Of the sweep, queue, dataset or round that it is about."""
    name: str = ""

    @property
    def stage(self) -> Stage:
        """The stage that it leads to."""
        return STAGE_OF[self.step]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """How much there is at each stage, what runs, and what comes next."""

    questions: int
    variants: int
    answers: int
    sweeps: int
    """Those that people started."""
    ratings: int
    """Judgements that hold, of people and models."""
    datasets: int
    rows: int
    """Of the datasets in use, to train on."""
    rounds: int
    jobs: tuple[JobRow, ...]
    """What waits or runs, without the sweeps that the program started by itself."""
    names: dict[int, str] = field(default_factory=dict)
    """What the jobs are about, by job."""
    next: NextStep

    @property
    def running(self) -> frozenset[Stage]:
        """The stages that something adds to now."""
        return frozenset(JOB_STAGES[job.kind] for job in self.jobs if job.kind in JOB_STAGES)

    def count(self, stage: Stage) -> int:
        """Return how much a stage holds."""
        if stage == "texts":
            return self.variants + self.answers
        return int(getattr(self, stage))


def project_state(session: Session) -> ProjectState:
    """Return where the project stands; counts of large tables are cached (``db.counts``)."""
    own = dict(session.execute(_own_sweeps()).all())
    jobs = [job for job in active_jobs(session) if job.sweep_id is None or job.sweep_id in own]
    rounds = list_rounds(session)
    names = _names(jobs, own, {one.id: one.name for one in rounds})
    counts = {
        "questions": _rows_of(session, Question),
        "variants": _rows_of(session, ReasoningVariant),
        "answers": _rows_of(session, Answer),
    }
    return ProjectState(
        **counts,
        sweeps=len(own),
        ratings=_count_ratings(session),
        datasets=session.scalar(select(func.count(Dataset.id)).where(in_use(Dataset))) or 0,
        rows=_count_rows(session),
        rounds=len(rounds),
        jobs=tuple(jobs),
        names=names,
        next=_next_step(session, counts, jobs, names, rounds),
    )


def _names(jobs: list[JobRow], sweeps: dict[int, str], rounds: dict[int, str]) -> dict[int, str]:
    found = {}
    for job in jobs:
        if job.sweep_id is not None:
            found[job.id] = sweeps[job.sweep_id]
        elif job.kind == "round":
            found[job.id] = rounds.get(job.payload["round_id"], "")
        elif run_id := job.payload.get("run_id"):
            found[job.id] = f"t{run_id}"
    return found


def count_texts(session: Session) -> int:
    """Return how many reasonings there are: none means that there is nothing to rate."""
    return _rows_of(session, ReasoningVariant)


def _own_sweeps() -> Select[int, str]:
    return select(Sweep.id, Sweep.name).where(Sweep.purpose == OWN_SWEEPS, in_use(Sweep))


def _rows_of(session: Session, table: type[Base]) -> int:
    key = table.__table__.c.id
    newest = session.scalar(select(func.max(key)))
    archived = 0
    if table is Question:
        gone = select(func.count()).select_from(Question)
        archived = session.scalar(gone.where(in_use(Question, archived=True))) or 0

    def counted() -> int:
        return session.scalar(select(func.count()).select_from(table)) or 0

    return cached_count(session, ("rows", table.__tablename__), newest, counted) - archived


def _count_ratings(session: Session) -> int:
    def counted() -> int:
        held = active_ratings().order_by(None).subquery()
        return session.scalar(select(func.count()).select_from(held)) or 0

    return cached_count(session, "ratings", high_water(session), counted)


def _count_rows(session: Session) -> int:
    of_use = select(func.count(DatasetRow.id)).join(Dataset, Dataset.id == DatasetRow.dataset_id)
    return session.scalar(of_use.where(in_use(Dataset), DatasetRow.split == "train")) or 0


def _next_step(
    session: Session,
    counts: dict[str, int],
    jobs: list[JobRow],
    names: dict[int, str],
    rounds: list[RoundRow],
) -> NextStep:
    if not counts["questions"]:
        return NextStep(step="import")
    for job in jobs:
        if job.kind == "sweep":
            return NextStep(step="watch", id=job.sweep_id, name=names[job.id])
        if job.kind == "round":
            return NextStep(step="follow", id=job.payload["round_id"], name=names[job.id])
    found = [*_newest_texts(session), *_newest_queue(session), *_newest_dataset(session)]
    if rounds:
        newest = max(rounds, key=lambda one: one.id)
        found.append((newest.created_at, _after_round(session, newest)))
    # Of what was made at the same moment, the later stage counts.
    return max(enumerate(found), key=lambda one: (one[1][0], one[0]))[1][1]


Dated = tuple[datetime, NextStep]


def _newest_texts(session: Session) -> list[Dated]:
    """Return what the newest questions and the newest sweep of a person ask for."""
    texts = select(ReasoningVariant.id).where(ReasoningVariant.question_id == Question.id)
    newest = select(Question.created_at, Question.source, texts.exists().label("has_texts")).where(
        in_use(Question)
    )
    asked = session.execute(
        newest.order_by(Question.created_at.desc(), Question.id.desc()).limit(1)
    ).first()
    query = select(Sweep.id, Sweep.name, Sweep.created_at, Sweep.state)
    sweep = session.execute(
        query.where(Sweep.purpose == OWN_SWEEPS, in_use(Sweep)).order_by(Sweep.id.desc()).limit(1)
    ).first()
    found: list[Dated] = []
    if asked is not None and (
        sweep is None or (asked.source in BROUGHT_IN and not asked.has_texts)
    ):
        step: Step = "first_sweep" if sweep is None and asked.source == "example" else "sweep"
        found.append((asked.created_at, NextStep(step=step)))
    if sweep is not None:
        is_done = sweep.state == "done"
        about = {"id": sweep.id, "name": sweep.name}
        found.append((sweep.created_at, NextStep(step="rate" if is_done else "open", **about)))
    return found


def _newest_queue(session: Session) -> list[Dated]:
    """Return what the newest queue asks for: go on, or use its ratings."""
    queue = next(iter(list_queues(session)), None)
    if queue is None:
        return []
    if not is_rated(session, queue):
        return [(queue.created_at, NextStep(step="rate_on", id=queue.id, name=queue.name))]
    round_id = queue.spec.get("round")
    step = NextStep(step="dataset") if round_id is None else NextStep(step="result", id=round_id)
    return [(queue.created_at, step)]


def is_rated(session: Session, queue: QueueRow) -> bool:
    """Tell whether one rater has closed as many cards as the queue has items."""
    closed = QueueItemState.state.in_(("submitted", "skipped", "discarded"))
    by_rater = (
        select(func.count(QueueItemState.item_id).label("n"))
        .join(QueueItem, QueueItem.id == QueueItemState.item_id)
        .where(QueueItem.queue_id == queue.id, closed)
        .group_by(QueueItemState.rater_id)
        .subquery()
    )
    return (session.scalar(select(func.max(by_rater.c.n))) or 0) >= queue.n_items


def _newest_dataset(session: Session) -> list[Dated]:
    query = select(Dataset.id, Dataset.name, Dataset.frozen_at).where(in_use(Dataset))
    row = session.execute(
        query.where(Dataset.frozen_at.is_not(None)).order_by(Dataset.id.desc()).limit(1)
    ).first()
    if row is None:
        return []
    return [(row.frozen_at, NextStep(step="round", id=row.id, name=row.name))]


def _after_round(session: Session, newest: RoundRow) -> NextStep:
    """Return what a round that no job is at asks for."""
    step: Step = "compare" if newest.step == "ended" else "resume"
    return NextStep(step=step, id=newest.id, name=newest.name)
