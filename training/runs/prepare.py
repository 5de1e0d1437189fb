"""From a spec to a queued run: dataset, base and settings found, and the rows as token ids."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy.orm import Session

from db.database import Database
from db.datasets import DatasetInfo, every_row, find_dataset
from db.errors import UsageError
from db.models import ModelRow, find_model, get_model, model_by_name
from db.settings import Settings
from db.training import RunRow, create_run, update_run
from serving.device import Device, resolve_device
from serving.engine.hardware import find_gpus, smallest_gpu
from serving.engine.shape import DEFAULT_SHAPE, ModelShape, read_shape
from serving.formats.definitions import FormatDefinition
from serving.formats.library import load_definitions, user_file
from serving.formats.render import render
from serving.formats.tokenizer import PromptTokenizer
from serving.models.adapters import EMBEDDING, HEAD, linear_modules, shares_embeddings
from serving.models.as_served import stored_version
from serving.models.register import ensure_default_model
from serving.models.servable import folder_of
from serving.models.tensor_files import ModelError
from training.datasets.balance import Caution, cautions, read_balance
from training.datasets.rows import EncodedRow, RowTexts, encode_dataset
from training.methods import METHODS, MethodName
from training.runs.estimate import (
    RowSizes,
    RunEstimate,
    estimate_run,
    row_length,
    row_sizes,
    sizes_of,
)
from training.runs.folder import RunFolder, write_rows
from training.runs.mismatched import check_has_other_prompts
from training.runs.presets import RunSettings
from training.runs.process import check_report_to
from training.runs.spec import (
    TYPICAL_ROW,
    Resolved,
    TrainSpec,
    choose_method,
    on_gpus,
    resolve,
)

HELD_OUT_ROWS = 200
"""At most so many held-out rows are looked at, the first ones."""
LOOK_SHARE = 0.4
"""And at most this share of the rows that are trained on between two looks: looking at one takes
0.28 times as long as training on it (SmolLM2 on a CPU), so that looks take a tenth of the time."""
FEWEST_LOOKED_AT = 16
SAMPLE_TOKENS: dict[Device, int] = {"cuda": 200, "cpu": 100}
"""A CPU writes some ten tokens a second while it trains, a GPU some forty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run will train, with what, and why so."""

    dataset: DatasetInfo
    base: ModelRow
    resolved: Resolved
    cautions: tuple[Caution, ...] = ()
    """What to know of the rows before they are trained."""


def plan_run(database: Database, settings: Settings, spec: TrainSpec) -> Prepared:
    """Return what ``spec`` comes to on this machine; nothing is written but a default model's row.

    Raises:
        UsageError: There is no such dataset or base, the name is taken, or a setting does not fit.
    """
    with database.read() as session:
        dataset = find_dataset(session, spec.dataset)
        balance = read_balance(session, dataset)
        named = None
        if spec.base is not None:
            named = stored_version(session, find_model(session, spec.base))
        if spec.name is not None and model_by_name(session, spec.name) is not None:
            raise UsageError(
                "name: another model is called {name} already; choose another.", name=spec.name
            )
    method = METHODS[choose_method(spec, dataset.kind)]
    if method.pairs_prompts and balance.n_of_one_question == balance.n_rows:
        raise UsageError(
            "{method_label} pairs each row with the text of another question, and all rows to"
            " train on of {dataset_name} are of one question; add rows of other questions to it.",
            method_label=method.label,
            dataset_name=dataset.name,
        )
    base = named or ensure_default_model(database, settings)
    resolved = check_training(
        settings,
        spec,
        base,
        dataset.kind,
        n_rows=balance.n_rows,
        n_ok=balance.n_ok,
        n_not_ok=balance.n_not_ok,
    )
    return Prepared(
        dataset=dataset, base=base, resolved=resolved, cautions=tuple(cautions(balance))
    )


def estimate_plan(
    database: Database,
    settings: Settings,
    spec: TrainSpec,
    planned: Prepared,
    sizes: RowSizes | None = None,
) -> RunEstimate | None:
    """Return what the run of a plan will take; None where no row would be trained.

    Args:
        database: The store.
        settings: Of this workbench.
        spec: What was planned.
        planned: What it came to.
        sizes: Of the dataset's rows, where they were looked at before.

    Raises:
        UsageError: A row cannot be rendered in the format.
    """
    with database.read() as session:
        return estimate_run(
            session,
            planned.base,
            _shape_of(planned.base),
            planned.resolved.settings,
            choose_method(spec, planned.dataset.kind),
            resolve_device(settings.device),
            sizes or sizes_of_plan(session, settings, spec, planned),
        )


def sizes_of_plan(
    session: Session, settings: Settings, spec: TrainSpec, planned: Prepared
) -> RowSizes:
    """Return the tokens of some rows of a plan's dataset."""
    form = load_definitions(user_file(settings)).format(spec.prompt_format)
    return row_sizes(session, planned.dataset.id, planned.dataset.n_train, form, planned.base)


def check_training(
    settings: Settings,
    spec: TrainSpec,
    base: ModelRow,
    kind: str,
    *,
    n_rows: int = 0,
    n_ok: int = 0,
    n_not_ok: int = 0,
) -> Resolved:
    """Return the settings of a training on ``base`` with a dataset of ``kind``.

    ``n_rows`` are to be trained on, ``n_ok`` and ``n_not_ok`` those with these labels, if any.

    Raises:
        UsageError: The base cannot be trained, or a setting does not fit data or device.
    """
    _check_base(base)
    load_definitions(user_file(settings)).format(spec.prompt_format)
    device = resolve_device(settings.device)
    gpu = smallest_gpu() if device == "cuda" else None
    resolved = resolve(
        spec,
        kind,
        device,
        gpu.total_gib if gpu else 0.0,
        n_ok=n_ok,
        n_not_ok=n_not_ok,
        capability=gpu.capability if gpu else 0.0,
        shape=_shape_of(base),
    )
    if device == "cuda":
        resolved = on_gpus(resolved, spec, len(find_gpus()), n_rows)
    check_targets(Path(cast(str, base.path)), base.name, resolved.settings.targets)
    check_report_to(resolved.settings.report_to)
    return resolved


def _shape_of(base: ModelRow) -> ModelShape:
    """Return the shape of a base; that of the default model where its files do not tell it."""
    try:
        return read_shape(Path(cast(str, base.path)), base.name)
    except ModelError:
        return DEFAULT_SHAPE


def queue_run(session: Session, spec: TrainSpec, prepared: Prepared) -> RunRow:
    """Write the run of a plan and return it."""
    dataset, base, resolved = prepared.dataset, prepared.base, prepared.resolved
    return create_run(
        session,
        dataset_id=dataset.id,
        base_model_version_id=base.id,
        method=choose_method(spec, dataset.kind),
        config={
            "spec": spec.model_dump(mode="json", exclude_none=True),
            "preset": resolved.preset,
            "why": resolved.why,
            "settings": resolved.settings.model_dump(mode="json"),
            "dataset": dataset.name,
            "dataset_hash": dataset.content_hash,
            "base": base.name,
            "base_digest": base.digest,
            "format": spec.prompt_format,
        },
    )


def write_folder(database: Database, settings: Settings, run: RunRow, folder: RunFolder) -> None:
    """Fill the folder of a run with all that its child process needs.

    Raises:
        UsageError: No row fits into ``max_length``, or a row cannot be rendered.
    """
    form = load_definitions(user_file(settings)).format(run.config["format"])
    device = resolve_device(settings.device)
    chosen = RunSettings(**run.config["settings"])
    with database.read() as session:
        base = get_model(session, run.base_model_version_id)
        tokenizer = PromptTokenizer.load(Path(cast(str, base.path)))
        train = encode_dataset(session, run.dataset_id, "train", form, tokenizer)
        held_out = encode_dataset(session, run.dataset_id, "held_out", form, tokenizer)
        questions = _questions(session, run, form, tokenizer, chosen.samples)
        sizes = sizes_of(train, len(train))
        expected = estimate_run(session, base, _shape_of(base), chosen, run.method, device, sizes)
    if expected is not None:
        with database.write() as session:
            update_run(session, run.id, summary={"expected_s": round(expected.seconds, 1)})
    kept = _that_fit(train, chosen.max_length)
    kept_held_out = _that_fit(held_out, chosen.max_length)[: looked_at(chosen)]
    if not kept:
        raise UsageError(
            "No row of the dataset {dataset} fits into max_length {max_length}; raise it.",
            dataset=run.config["dataset"],
            max_length=chosen.max_length,
        )
    method = METHODS[cast(MethodName, run.method)]
    if method.pairs_prompts:
        check_has_other_prompts(kept, method.label)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_rows(folder.train, kept)
    write_rows(folder.held_out, kept_held_out)
    write_rows(folder.questions, questions)
    folder.write_config(
        {
            **run.config,
            "run_id": run.id,
            "method": run.method,
            "model": base.path,
            "device": device,
            "pad_token_id": tokenizer.eos_token_id,
            "sample_tokens": SAMPLE_TOKENS[device],
            "rows": {
                "train": len(kept),
                "held_out": len(kept_held_out),
                "too_long": len(train) - len(kept),
            },
        }
    )


def looked_at(settings: RunSettings) -> int:
    """Return how many held-out rows a look takes, so that it stays short beside the steps."""
    rows = settings.batch * settings.accumulation * settings.world_size * settings.eval_every
    if settings.packing:
        rows *= max(1, settings.max_length // TYPICAL_ROW)
    return min(HELD_OUT_ROWS, max(FEWEST_LOOKED_AT, round(LOOK_SHARE * rows)))


def _that_fit(rows: Sequence[EncodedRow], max_length: int) -> list[EncodedRow]:
    """Return rows that need no cut: a cut one would teach not to stop."""
    return [row for row in rows if row_length(row) <= max_length]


def _questions(
    session: Session, run: RunRow, form: FormatDefinition, tokenizer: PromptTokenizer, n: int
) -> list[dict[str, Any]]:
    """Return the fixed held-out questions, asked as the trained model will be."""
    found: dict[int, dict[str, Any]] = {}
    for row in every_row(session, run.dataset_id, ("held_out",)) if n else ():
        texts = RowTexts.from_payload(row.payload)
        if row.question_id in found or texts.reasoning is None:
            continue
        prompt = render(form, "whole", texts.fields("whole"), tokenizer)
        found[row.question_id] = {
            "question_id": row.question_id,
            "question": texts.question,
            "prompt_ids": prompt.token_ids,
            "stop_token_ids": prompt.stop_token_ids,
        }
        if len(found) == n:
            break
    return list(found.values())


def _check_base(base: ModelRow) -> None:
    if base.kind not in ("base", "merged"):
        raise UsageError(
            "{base_name} is of the kind {base_kind}; train a base or a merged model.",
            base_name=base.name,
            base_kind=base.kind,
        )
    folder_of(base)
    if base.state != "ready":
        raise UsageError(
            "{base_name} has not passed the proof of its merge. Train another model, or prove it "
            "again: `q2q model verify {base_name}`.",
            base_name=base.name,
        )


def check_targets(base: Path, name: str, targets: Sequence[str]) -> None:
    """Return if each of ``targets`` names modules of the base that an adapter can hold.

    Raises:
        UsageError: One matches no module, or is a layer that the base uses twice.
    """
    modules = linear_modules(base)
    tied = [target for target in targets if target.rpartition(".")[2] in (EMBEDDING, HEAD)]
    if tied and shares_embeddings(base):
        raise UsageError(
            "targets: {name} uses one tensor for {embedding} and {head}, so that an adapter on "
            "{tied} can be neither served beside it nor merged; leave it out.",
            name=name,
            embedding=EMBEDDING,
            head=HEAD,
            tied=" or ".join(tied),
        )
    strange = [target for target in targets if not _matches(target, modules)]
    if strange:
        known = sorted({module.rpartition(".")[2] for module in modules} - {EMBEDDING, HEAD})
        raise UsageError(
            "targets: {name} has no module called {strange}; it has {known}.",
            name=name,
            strange=", ".join(strange),
            known=", ".join(known),
        )


def _matches(target: str, modules: Iterable[str]) -> bool:
    """Say whether PEFT finds a module by this name: whole, or the end of it after a dot."""
    return any(module == target or module.endswith(f".{target}") for module in modules)
