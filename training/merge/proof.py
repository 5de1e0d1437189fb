"""The proof of a merge: all checks of one merged folder, stored, and what follows from them.

Checks that read files come first; where the folder is not whole, or its tensors are not the
base's, the later ones could not mean anything and are left out.
"""

import asyncio
import math
from pathlib import Path
from typing import Any

from db.database import Database
from db.errors import UsageError
from db.jobs import OnProgress
from db.models import CheckRow, ModelRow, ProofRow, adapter_of, get_model, save_proof
from db.settings import Settings
from serving.device import Device, resolve_device
from serving.formats.definitions import PromptFields
from serving.formats.library import load_definitions
from serving.formats.render import render
from serving.formats.tokenizer import PromptTokenizer
from serving.models.adapters import read_adapter
from serving.models.folder import digest_folder
from serving.models.register import StoredTensorCache
from serving.models.servable import folder_of
from serving.models.tensor_files import ModelError
from training.merge import proof_files as files
from training.merge.folder import write_card
from training.merge.merge import in_child

HALF_STEPS = 2.0
"""Allowed deviation of a weight from base + scale · B · A. One rounding costs at most one half
step (measured: 0.996); a merge that rounds the product before adding it costs up to two."""
MEAN_KL = {"float32": 1e-3, "bfloat16": 5e-3}
"""Mean KL(adapter on 16-bit base ‖ merged) in nats a position that is always allowed, by the
arithmetic of the check; see docs/merging.md."""
SHARE_OF_MOVE = 0.1
"""Allowed above that, as a share of the mean KL by which the adapter moves the base. KL grows with
the square of a small change: an adapter merged a third too strong or too weak differs by 1/9."""
SHARE_STOPPED = 0.5
"""Of the places where both hold stopping for the likeliest, the share at which the merge must
really stop, by its own generation settings; near ties may swap where texts are written together."""
STOP_LOGPROB = {"float32": 0.5, "bfloat16": 1.0}
"""Difference of the log-probability of stopping, in nats, that is always allowed."""
STOP_DEVIATIONS = 4.0
"""Allowed above that, in standard deviations of a log-probability's difference where rounding is
all that differs: for small differences KL is half their variance."""
MAX_NEW_TOKENS: dict[Device, int] = {"cpu": 48, "cuda": 192}
QUESTIONS = (
    "Why does bread rise?",
    "What is two plus two? Answer with one number.",
    "空はなぜ青いのですか。",
)


async def prove(
    database: Database,
    settings: Settings,
    model_version_id: int,
    *,
    on_progress: OnProgress,
    cancelled: asyncio.Event,
    adapter_id: int | None = None,
) -> ProofRow:
    """Check a merged model, store the proof, and make the model ready or unusable.

    Raises:
        UsageError: It is no merge, or nobody knows its adapter.
        MergeError: A check could not be made; nothing is stored.
        Cancelled: ``cancelled`` was set; nothing is stored.
    """
    with database.read() as session:
        model = get_model(session, model_version_id)
        adapter_id = adapter_id or adapter_of(session, model_version_id)
        if model.kind != "merged" or model.base_id is None or adapter_id is None:
            raise UsageError(
                "{model_name} is no merge whose adapter is known here; make one with `q2q merge`.",
                model_name=model.name,
            )
        adapter, base = get_model(session, adapter_id), get_model(session, model.base_id)
    checks = await _checks(
        database, settings, (base, adapter, model), on_progress=on_progress, cancelled=cancelled
    )
    with database.write() as session:
        proof = save_proof(session, model.id, adapter.id, checks)
        write_card(session, model.id)
    return proof


async def _checks(
    database: Database,
    settings: Settings,
    models: tuple[ModelRow, ModelRow, ModelRow],
    *,
    on_progress: OnProgress,
    cancelled: asyncio.Event,
) -> list[CheckRow]:
    base, adapter, merged = (folder_of(model) for model in models)
    on_progress(0, None, "Reading the merged folder.")
    checks = [files.check_complete(merged), *files.check_files(base, merged)]
    checks += await asyncio.to_thread(_weight_checks, database, base, adapter, merged)
    if not all(check.passed for check in checks if check.name in ("whole", "readable", "tensors")):
        return checks
    checks.append(files.check_stop_ids(base, merged))
    device = resolve_device(settings.device)
    spec: dict[str, Any] = {
        "base": str(base),
        "adapter": str(adapter),
        "merged": str(merged),
        "device": device,
    }
    log = settings.home_dir / "logs" / f"proof-{models[2].name}.log"
    values = await in_child(
        "training.merge.proof_values", spec, log=log, on_progress=on_progress, cancelled=cancelled
    )
    checks += _value_checks(values)
    if not checks[-2].passed:
        return checks
    prompts, stops = fixed_prompts(base)
    spec |= {"prompts": prompts, "stop_ids": stops, "max_new_tokens": MAX_NEW_TOKENS[device]}
    outputs = await in_child(
        "training.merge.proof_outputs", spec, log=log, on_progress=on_progress, cancelled=cancelled
    )
    return [*checks, *_output_checks(outputs)]


def _weight_checks(database: Database, base: Path, adapter: Path, merged: Path) -> list[CheckRow]:
    cache = StoredTensorCache(database)
    before = digest_folder(base, cache)
    try:
        after = digest_folder(merged, cache)
    except ModelError as error:
        return [CheckRow(name="readable", passed=False, detail=str(error))]
    return [
        files.check_written(merged, after),
        files.check_tensors(before, after),
        *files.check_targets(before, after, read_adapter(adapter).changes),
    ]


def _value_checks(values: dict[str, Any]) -> list[CheckRow]:
    not_finite: list[str] = values["not_finite"]
    steps, module = values["worst_half_steps"], values["worst_module"]
    complete = values["compared"] == values["targeted"]
    return [
        CheckRow(
            name="finite",
            passed=not not_finite,
            measured=float(len(not_finite)),
            tolerance=0.0,
            detail=f"{files.listed(not_finite)} holds NaN or infinite values. Train again, with a "
            "lower learning rate."
            if not_finite
            else "All values are finite.",
        ),
        CheckRow(
            name="delta",
            passed=complete and steps is not None and steps <= HALF_STEPS,
            measured=steps,
            tolerance=HALF_STEPS,
            detail="Not every targeted weight could be compared with base and adapter."
            if not complete or steps is None
            else f"{module} is not the base with the adapter in it: it is {steps:.1f} half "
            "rounding steps away. Merge again."
            if steps > HALF_STEPS
            else f"All {values['compared']} merged weights are base + scale · B · A, rounded.",
        ),
    ]


def _output_checks(found: dict[str, Any]) -> list[CheckRow]:
    kl, moved = found["mean_kl"], found["moved_kl"]
    allowed = max(MEAN_KL[found["dtype"]], SHARE_OF_MOVE * moved)
    agrees = kl <= allowed
    said = (
        f"mean KL {kl:.1e} nats, largest logit difference {found['max_logit']:.2f}, over "
        f"{found['positions']} positions in {found['dtype']}; the adapter moves the base by "
        f"{moved:.1e} nats"
    )
    return [
        CheckRow(
            name="logits",
            passed=agrees,
            measured=kl,
            tolerance=allowed,
            detail=f"The merge says what the adapter on the base says: {said}."
            if agrees
            else f"The merge does not say what the adapter on the base says: {said}. Merge again.",
        ),
        _stop_check(found),
    ]


def _stop_check(found: dict[str, Any]) -> CheckRow:
    """Judge by how likely stopping is, not by what greedy writing makes of near ties."""
    allowed = max(
        STOP_LOGPROB[found["dtype"]], STOP_DEVIATIONS * math.sqrt(2 * max(found["mean_kl"], 0.0))
    )
    difference, ends, ahead = found["stop_logprob"], found["stopped_adapter"], found["stops_first"]
    stops = difference <= allowed and found["stopped_merged"] >= SHARE_STOPPED * ahead
    said = (
        f"The adapter ends {ends} of {found['texts']} fixed texts by itself; there the merge holds "
        f"stopping for the likeliest in {ahead}, and stops in {found['stopped_merged']} of these"
        if ends
        else "The adapter ends none of the fixed texts in time"
    )
    return CheckRow(
        name="stop_token",
        passed=stops,
        measured=difference,
        tolerance=allowed,
        detail=f"{said}. The log-probability of stopping differs by at most {difference:.2f} nats."
        + ("" if stops else " It does not stop as it was trained to. Merge again."),
    )


def fixed_prompts(folder: Path) -> tuple[list[list[int]], list[int]]:
    """Return the ids of the fixed prompts, as they are served, and the stop tokens."""
    tokenizer = PromptTokenizer.load(folder)
    definitions = load_definitions(None)
    system = definitions.roles["assistant@1"].system
    wanted = [("tagged@1", "whole")]
    if tokenizer.chat_template is not None:
        wanted.append(("chat@1", "vanilla"))
    rendered = [
        render(
            definitions.formats[name],
            task,  # type: ignore[arg-type]
            PromptFields(system=system, question=question),
            tokenizer,
        )
        for name, task in wanted
        for question in QUESTIONS
    ]
    stops = sorted({stop for one in rendered for stop in one.stop_token_ids})
    return [list(one.token_ids) for one in rendered], stops
