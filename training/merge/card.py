"""The card of a merged model, drafted from the store: what it is, and how it came to be."""

from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import ModelRow, ProofRow, get_model, proof_of
from db.tables import Dataset, DatasetRow, DatasetRowRating, TrainingRun
from training.merge.folder import CARD, replace_text


def write_card(session: Session, model_version_id: int) -> Path | None:
    """Write ``README.md`` into the folder of a merge, or return None if it is gone."""
    model = get_model(session, model_version_id)
    if model.path is None or not Path(model.path).is_dir():
        return None
    path = Path(model.path) / CARD
    replace_text(path, card(session, model))
    return path


def card(session: Session, model: ModelRow) -> str:
    """Return the card of a merge as Markdown with the metadata of a Hugging Face model card."""
    proof = proof_of(session, model.id)
    base = get_model(session, model.base_id) if model.base_id else None
    run = _run(session, proof)
    head = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": (base.hub_id or base.name) if base else None,
        "base_model_relation": "finetune",
        "tags": ["q2q-workbench", "lora", "merged"],
    }
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {model.name}",
        "A draft from the store of the Q2Q Workbench; add what the model is for, and its limits.",
        "## Weights",
        *_facts(
            {
                "digest": model.digest,
                "base": f"{base.name}, {base.digest}" if base else None,
                "adapter": _adapter(session, proof),
                "dtype": model.dtype,
                "parameters": model.n_parameters,
                "context": f"{model.context_length} tokens" if model.context_length else None,
                "stop tokens": ", ".join(map(str, model.stop_token_ids)),
            }
        ),
        *(_training(session, run) if run else ()),
        *(_proof(proof) if proof else ()),
        "## How to serve it",
        f"```sh\nvllm serve {model.path} --served-model-name {model.name} "
        "--generation-config vllm\n```",
    ]
    return "\n\n".join(lines) + "\n"


def _adapter(session: Session, proof: ProofRow | None) -> str | None:
    if proof is None:
        return None
    adapter = get_model(session, proof.adapter_model_version_id)
    return f"{adapter.name}, {adapter.digest}"


def _run(session: Session, proof: ProofRow | None) -> TrainingRun | None:
    if proof is None:
        return None
    return session.scalar(
        select(TrainingRun).where(
            TrainingRun.adapter_model_version_id == proof.adapter_model_version_id
        )
    )


def _training(session: Session, run: TrainingRun) -> list[str]:
    dataset = session.get_one(Dataset, run.dataset_id)
    rows = select(DatasetRow.id).where(DatasetRow.dataset_id == dataset.id)
    n_ratings = session.scalar(
        select(func.count(func.distinct(DatasetRowRating.rating_id))).where(
            DatasetRowRating.row_id.in_(rows)
        )
    )
    n_rows = session.scalar(select(func.count()).select_from(rows.subquery()))
    return [
        "## Training",
        *_facts(
            {
                "method": run.method,
                "dataset": f"{dataset.name}, {n_rows} rows, hash {dataset.content_hash}",
                "ratings behind it": n_ratings,
            }
        ),
        *(_block(name, getattr(run, name)) for name in ("config", "summary", "versions")),
        _block("rules of the dataset", dataset.rules),
    ]


def _proof(proof: ProofRow) -> list[str]:
    lines = ["| check | passed | found |", "|---|---|---|"]
    for check in proof.checks:
        detail = (check.detail or "").replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {check.name} | {'yes' if check.passed else 'NO'} | {detail} |")
    verdict = "passed" if proof.passed else "FAILED"
    return [f"## Proof of the merge: {verdict}", "\n".join(lines)]


def _facts(facts: dict[str, Any]) -> list[str]:
    return ["\n".join(f"- {name}: {value}" for name, value in facts.items() if value is not None)]


def _block(title: str, value: Any) -> str:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return f"### {title.capitalize()}\n\n```yaml\n{text}```"
