"""The round as one job: its steps in order, each stored when done, so that any can be resumed.

Steps that need the device have it to themselves (``EnginePool.device_for``): other jobs are let
finish, wait meanwhile, and are told until when. The sweep goes through the server beside others.
Nothing is remembered between runs but the store: a resumed round goes on at its step.
"""

import time
from collections.abc import Mapping
from typing import Any

from db.cancelling import Cancelled
from db.database import Database
from db.datasets import find_dataset
from db.errors import Q2QError
from db.messages import Message
from db.models import get_model
from db.rounds import ON_DEVICE, STEPS, RoundRow, decide_round, find_round, move_round
from db.settings import Settings
from db.sweeps import failure_reasons
from db.training import get_run
from serving.formats.library import load_registry
from serving.sweeps.run import Progress
from training.datasets.build import build
from training.datasets.freeze import freeze
from training.datasets.rules import parse_rules
from training.merge.merge import merge_adapter
from training.merge.prune import rebuild
from training.runs.prepare import plan_run, queue_run
from workbench.jobs.contracts import JobContext
from workbench.jobs.device_lane import prove_for, train_run
from workbench.jobs.server_lane import run_sweep_of
from workbench.rounds.comparison import compare_round
from workbench.rounds.questions import ensure_sweep
from workbench.rounds.scoring import score_round
from workbench.rounds.spec import RoundSpec, parse_round
from workbench.rounds.start import check_disk, train_spec
from workbench.rounds.verdict import propose

_DOING = {"train": "trains", "merge": "merges", "verify": "proves the merge of"}
"""What the device does meanwhile, by step."""


async def run_round(context: JobContext) -> dict[str, Any]:
    """Go on with a round. Payload: ``round_id``, and ``approved`` after the pause."""
    return await RoundRun(context).run()


class RoundTraining:
    """What a round does on the device: each call goes on where an earlier one was killed."""

    async def prepare(self, context: JobContext, found: RoundRow) -> None:
        """Make the merge that a round starts from again where it was pruned."""
        with context.database.read() as session:
            start = get_model(session, found.starts_from_id)
        if start.state == "pruned":
            what = Message("Making {name} again, which was pruned.", name=start.name)
            context.report(0, None, what)
            await rebuild(
                context.database,
                context.settings,
                start,
                on_progress=context.report,
                cancelled=context.cancelled,
            )

    async def train(self, context: JobContext, found: RoundRow, settings: Mapping[str, Any]) -> int:
        """Train the round's dataset on the model it starts from; return the run's id."""
        run_id = found.training_run_id or self._begin(context, found, settings)
        await train_run(context, run_id)
        return run_id

    def adapter(self, context: JobContext, found: RoundRow) -> int:
        """Return the adapter of the round's run."""
        assert found.training_run_id is not None
        with context.database.read() as session:
            adapter = get_run(session, found.training_run_id).adapter_model_version_id
        if adapter is None:
            raise Q2QError(
                "Run t{training_run_id} has no adapter; train it: "
                "`q2q train resume {training_run_id}`.",
                training_run_id=found.training_run_id,
            )
        return adapter

    async def merge(self, context: JobContext, found: RoundRow) -> int:
        """Merge the adapter of the round's run; return the merge, which is still to be proved."""
        return await merge_adapter(
            context.database,
            context.settings,
            self.adapter(context, found),
            on_progress=context.report,
            cancelled=context.cancelled,
        )

    async def verify(self, context: JobContext, model_id: int) -> str | None:
        """Prove a merge; return None, or why it must not be used."""
        proof = await prove_for(context, model_id)
        return None if proof.passed else proof.failure

    def _begin(self, context: JobContext, found: RoundRow, settings: Mapping[str, Any]) -> int:
        """Write the run of a round; a round that is resumed finds it again."""
        with context.database.read() as session:
            spec = train_spec(
                found.name,
                settings,
                dataset=find_dataset(session, str(found.dataset_id)).name,
                base=get_model(session, found.starts_from_id).name,
            )
        prepared = plan_run(context.database, context.settings, spec)
        with context.database.write() as session:
            run = queue_run(session, spec, prepared)
            move_round(session, found.id, training_run_id=run.id)
        return run.id


class RoundRun:
    """One run of a round, from the step it is at until it ends, waits, or is stopped."""

    def __init__(self, context: JobContext, work: RoundTraining | None = None) -> None:
        self._context = context
        self._database: Database = context.database
        self._settings: Settings = context.settings
        self._work = work or RoundTraining()
        self._round = self._read()
        self._spec: RoundSpec = parse_round(self._round.config)
        self._seconds: dict[str, float] = {}
        """What this run's time went into, by step; starting the server is told apart."""
        self._since = time.monotonic()

    async def run(self) -> dict[str, Any]:
        """Do what is left.

        Raises:
            Cancelled: It was told to stop; the step that it was at is done anew.
            Q2QError: A step failed; the round can be resumed there.
        """
        self._move(state="running")
        try:
            if self._round.step == "dataset":
                self._make_dataset()
            if self._round.step == "approval" and not self._is_approved():
                self._move(state="waiting")
                self._show_step("Waiting for approval of the dataset.")
                return self._result(waiting_for="approval")
            if self._round.step in ("approval", *ON_DEVICE):
                await self._on_device()
            if self._round.step == "sweep":
                await self._ask()
            if self._round.step == "compare":
                self._judge(await self._score())
        except Q2QError:
            self._move(state="failed")
            raise
        except BaseException:
            self._move(state="open")
            raise
        self._move(state="done")
        return self._result(verdict=self._round.verdict, reason=self._round.reason)

    def _result(self, **values: Any) -> dict[str, Any]:
        seconds = {name: round(spent, 1) for name, spent in self._seconds.items()}
        return {"round_id": self._round.id, **values, "seconds": seconds}

    def _count(self, name: str) -> None:
        """Count the time since the last call as spent on ``name``."""
        now = time.monotonic()
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._since
        self._since = now

    def _is_approved(self) -> bool:
        return bool(self._context.job.payload.get("approved"))

    def _make_dataset(self) -> None:
        self._show_step("Choosing the rows of the dataset.")
        with self._database.write() as session:
            if isinstance(self._spec.dataset, str):
                dataset_id = find_dataset(session, self._spec.dataset).id
            else:
                rules = parse_rules(self._spec.dataset)
                built = build(session, rules, load_registry(self._settings, session))
                dataset_id = freeze(session, built)
        self._move(step="approval", dataset_id=dataset_id)

    async def _on_device(self) -> None:
        """Train, merge and prove with the device to itself."""
        if self._round.step == "approval":
            self._move(step="train")
        with self._database.read() as session:
            base = get_model(session, self._round.starts_from_id)
        is_merged = self._round.step == "verify"
        check_disk(self._settings.home_dir, base, merge=self._spec.merge and not is_merged)
        self._show_step("Waiting for the device: other work is let finish.")
        with self._context.pool.for_job() as user:
            async with self._context.pool.device_for(user, self._note, self._context.cancelled):
                self._count("device")
                await self._work.prepare(self._context, self._round)
                if self._round.step == "train":
                    await self._train()
                if self._round.step == "merge":
                    await self._merge()
                if self._round.step == "verify":
                    await self._verify()

    async def _train(self) -> None:
        run_id = await self._work.train(self._context, self._round, self._spec.train)
        self._move(training_run_id=run_id)
        if self._spec.merge:
            self._move(step="merge")
        else:
            adapter = self._work.adapter(self._context, self._round)
            self._move(step="sweep", merged_model_version_id=adapter)

    async def _merge(self) -> None:
        self._show_step("Merging the adapter into its base.")
        merged_id = await self._work.merge(self._context, self._round)
        self._move(step="verify", merged_model_version_id=merged_id)

    async def _verify(self) -> None:
        """Prove the merge; one that fails is merged anew when the round goes on."""
        merged_id = self._round.merged_model_version_id
        assert merged_id is not None
        self._show_step("Proving the merge.")
        failed = await self._work.verify(self._context, merged_id)
        if failed is not None:
            self._move(step="merge", merged_model_version_id=None)
            raise Q2QError("The merge failed its proof and is not used. {failed}", failed=failed)
        self._move(step="sweep")

    async def _ask(self) -> None:
        """Ask all models the held-out questions through the server."""
        with self._database.write() as session:
            registry = load_registry(self._settings, session)
            sweep_id = ensure_sweep(session, registry, self._round, self._spec)

        def on_progress(progress: Progress) -> None:
            if progress.done and "server" not in self._seconds:
                self._count("server")
            done = progress.done + progress.failed + progress.blocked
            message = Message("Asking the held-out questions: {what}.", what=progress.message)
            self._context.report(done, progress.total, message)

        with self._context.pool.for_job() as engines:
            await run_sweep_of(self._context, sweep_id, engines, on_progress=on_progress)
        self._move(step="compare")

    async def _score(self) -> tuple[str, ...]:
        """Have the engine score texts and held-out rows; return why figures are missing."""
        if not self._spec.compare.scores:
            return ()
        with self._context.pool.for_job() as engines:
            done = await score_round(
                self._database,
                self._round,
                engines,
                on_progress=self._context.report,
                cancelled=self._context.cancelled,
            )
        if done.cancelled:
            raise Cancelled
        return done.unable

    def _judge(self, not_scored: tuple[str, ...]) -> None:
        self._show_step("Comparing.")
        own = self._round.merged_model_version_id
        assert own is not None
        sweep_id = self._round.sweep_id
        with self._database.read() as session:
            comparison = compare_round(session, self._round)
            failures = failure_reasons(session, sweep_id) if sweep_id is not None else ()
        proposal = propose(comparison, own, self._spec.compare)
        findings = {
            **proposal.findings,
            "not_written": list(map(str, failures)),
            "not_scored": list(not_scored),
        }
        with self._database.write() as session:
            decide_round(session, self._round.id, proposal.verdict, proposal.reason, findings)
        self._move(step="ended")

    def _show_step(self, message: str) -> None:
        """Show the step that begins, among all of them."""
        self._context.report(STEPS.index(self._round.step), len(STEPS) - 1, message)

    def _note(self) -> str:
        """Return what people who wait are told."""
        job = self._context
        left = f" ({job.done} of {job.total})" if job.total and job.done is not None else ""
        doing = _DOING.get(self._round.step, _DOING["train"])
        return f"The device {doing} round {self._round.name!r}{left}; this goes on afterwards."

    def _read(self) -> RoundRow:
        with self._database.read() as session:
            return find_round(session, int(self._context.job.payload["round_id"]))

    def _move(self, **changes: Any) -> None:
        if "step" in changes:
            self._count(self._round.step)
        with self._database.write() as session:
            self._round = move_round(session, self._round.id, **changes)
