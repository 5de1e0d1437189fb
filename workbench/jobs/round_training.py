"""What a round does on the device: train, merge, prove; each is found again when resumed."""

from collections.abc import Mapping
from typing import Any

from db.datasets import find_dataset
from db.errors import Q2QError
from db.models import get_model
from db.rounds import RoundRow, move_round
from db.training import get_run
from training.merge.merge import merge_adapter
from training.merge.process import Cancelled
from training.runs.prepare import plan_run, queue_run
from workbench.jobs.merging import failure, prove_for, rebuild
from workbench.jobs.training import train_run
from workbench.jobs.worker import Interrupted, JobContext
from workbench.rounds.checking import train_spec


class RoundTraining:
    """Trains the dataset of a round, merges and proves, each in a child process."""

    async def prepare(self, context: JobContext, found: RoundRow) -> None:
        """Make the merge that a round starts from again where it was pruned."""
        with context.database.read() as session:
            start = get_model(session, found.starts_from_id)
        if start.state == "pruned":
            context.report(0, None, f"Making {start.name} again, which was pruned.")
            try:
                await rebuild(
                    context.database,
                    context.settings,
                    start,
                    on_progress=context.report,
                    cancelled=context.cancelled,
                )
            except Cancelled:
                raise Interrupted from None

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
                f"Run t{found.training_run_id} has no adapter; train it: "
                f"`q2q train resume {found.training_run_id}`."
            )
        return adapter

    async def merge(self, context: JobContext, found: RoundRow) -> int:
        """Merge the adapter of the round's run; return the merge, which is still to be proved."""
        try:
            return await merge_adapter(
                context.database,
                context.settings,
                self.adapter(context, found),
                on_progress=context.report,
                cancelled=context.cancelled,
            )
        except Cancelled:
            raise Interrupted from None

    async def verify(self, context: JobContext, model_id: int) -> str | None:
        """Prove a merge; return None, or why it must not be used."""
        try:
            proof = await prove_for(context, model_id)
        except Cancelled:
            raise Interrupted from None
        return None if proof.passed else failure(proof)

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
