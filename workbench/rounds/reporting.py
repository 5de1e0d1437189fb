"""The report of a round: its comparison, with what it learned from and what it came to."""

from sqlalchemy.orm import Session

from db.datasets import find_dataset
from db.models import get_model
from db.rounds import find_round
from db.training import get_run
from workbench.reporting.round_report import report
from workbench.rounds.comparing import compare_round


def round_page(session: Session, name: str | int) -> str:
    """Return the report of a round as one HTML page.

    Raises:
        UsageError: There is no such round, or it has not been compared yet.
    """
    found = find_round(session, name)
    comparison = compare_round(session, found)
    facts = [("Starts from", get_model(session, found.starts_from_id).name)]
    if found.dataset_id is not None:
        dataset = find_dataset(session, str(found.dataset_id))
        facts.append(
            ("Dataset", f"{dataset.name} ({dataset.n_train} rows, {dataset.content_hash})")
        )
        facts.append(("Ratings behind it", str(dataset.counts.get("ratings", 0))))
    if found.training_run_id is not None:
        run = get_run(session, found.training_run_id)
        facts.append(("Training", f"t{run.id}, {run.method}, preset {run.config.get('preset')}"))
        if (loss := run.summary.get("held_out_loss")) is not None:
            facts.append(("Held-out loss at the end", f"{loss:.3f}"))
    if found.merged_model_version_id is not None:
        model = get_model(session, found.merged_model_version_id)
        facts.append(("Model", f"{model.name} ({model.digest or 'declared'})"))
    if found.verdict is not None:
        facts.append(("Verdict", f"{found.verdict}: {found.reason}"))
    facts += [("Not scored", why) for why in (found.findings or {}).get("not_scored", ())]
    title = f"Round {found.name}"
    return report(session, comparison, title=title, facts=facts)
