"""A base, its adapter and a merge with a proof, in real folders, for tests and pictures."""

import json
from pathlib import Path

from db.database import Database
from db.models import CheckRow, ModelRow, get_model, record_merge, save_proof
from db.tables import ModelVersion

N_BYTES = 2_000_000
GOOD = (
    CheckRow(name="whole", passed=True, detail="All 7 files are there, in their sizes."),
    CheckRow(name="tokenizer", passed=True, detail="Tokenizer and chat template are the base's."),
    CheckRow(name="targets_changed", passed=True, measured=210, tolerance=210,
             detail="All 210 targeted weights differ from the base."),
    CheckRow(name="delta", passed=True, measured=0.996, tolerance=2,
             detail="All 210 merged weights are base + scale · B · A, rounded."),
    CheckRow(name="logits", passed=True, measured=0.0005, tolerance=0.089,
             detail="The merge says what the adapter on the base says."),
)  # fmt: skip
BAD = CheckRow(name="stop_token", passed=False, measured=0.25, tolerance=0.5, detail="It differs.")


def seed_merge(store: Database, folder: Path, *, is_good: bool) -> ModelRow:
    """Write a family of three models whose merge was proved; return the merge."""
    for name in ("base", "adapter", "merged"):
        (folder / name).mkdir(parents=True)
    (folder / "merged" / "manifest.json").write_text(json.dumps({"kind": "merged"}))
    (folder / "merged" / "model.safetensors").write_bytes(bytes(N_BYTES))
    with store.write() as session:
        made: dict[str, int] = {}
        for kind in ("base", "adapter"):
            row = ModelVersion(
                name=f"tiny-{kind}",
                kind=kind,
                digest=f"sha256:{kind}",
                path=str(folder / kind),
                size_bytes=N_BYTES,
                base_id=made.get("base"),
            )
            session.add(row)
            session.flush()
            made[kind] = row.id
        adapter, base = get_model(session, made["adapter"]), get_model(session, made["base"])
        path = str(folder / "merged")
        merged = record_merge(
            session, adapter, base, name="tiny-merged", digest="sha256:merged", path=path
        )
        save_proof(session, merged.id, adapter.id, GOOD if is_good else (*GOOD, BAD))
        return get_model(session, merged.id)
