"""The report of a round: its comparison, with what it learned from and what it came to."""

from sqlalchemy.orm import Session

from db.datasets import find_dataset
from db.models import get_model
from db.rounds import RoundRow, find_round
from db.training import get_run
from workbench.i18n import Language, translate
from workbench.reporting.round_report import report
from workbench.rounds.comparison import compare_round
from workbench.rounds.text import settled_lines, verdict_reason
from workbench.rounds.verdict import VerdictProposal, is_outdated, judge


def round_page(session: Session, name: str | int, language: Language = "en") -> str:
    """Return the report of a round as one HTML page.

    Raises:
        UsageError: There is no such round, or it has not been compared yet.
    """
    found = find_round(session, name)
    comparison = compare_round(session, found)
    now = judge(found, comparison)
    facts = [
        (translate(f"round_report.{key}", language), value)
        for key, value in _facts(session, found, now, language)
    ]
    settled = settled_lines(now.findings, language) if now else ()
    title = translate("round_report.title", language, name=found.name)
    return report(session, comparison, title=title, facts=facts, settled=settled, language=language)


def _facts(
    session: Session, found: RoundRow, now: VerdictProposal | None, language: Language
) -> list[tuple[str, str]]:
    def text(key: str, **values: object) -> str:
        return translate(f"round_report.{key}", language, **values)

    facts = [("starts_from", get_model(session, found.starts_from_id).name)]
    if found.dataset_id is not None:
        dataset = find_dataset(session, str(found.dataset_id))
        rows = text("rows", name=dataset.name, n=dataset.n_train, hash=dataset.content_hash)
        facts += [("dataset", rows), ("ratings", str(dataset.counts.get("ratings", 0)))]
    if found.training_run_id is not None:
        run = get_run(session, found.training_run_id)
        preset = run.config.get("preset")
        facts.append(("training", text("run", id=run.id, method=run.method, preset=preset)))
        if (loss := run.summary.get("held_out_loss")) is not None:
            facts.append(("loss", f"{loss:.3f}"))
    if found.merged_model_version_id is not None:
        model = get_model(session, found.merged_model_version_id)
        facts.append(("model", f"{model.name} ({model.digest or 'declared'})"))
    if found.verdict is not None:
        reason = verdict_reason(found.findings, language) if found.findings else found.reason
        verdict = translate(f"verdict.{found.verdict}", language)
        facts.append(("verdict", text("because", verdict=verdict, reason=reason)))
    if now is not None and is_outdated(found, now):
        verdict = translate(f"verdict.{now.verdict}", language)
        reason = verdict_reason(now.findings, language)
        facts.append(("figures_now", text("because", verdict=verdict, reason=reason)))
    return facts + [
        (kind, why)
        for kind in ("not_written", "not_scored")
        for why in (found.findings or {}).get(kind, ())
    ]
