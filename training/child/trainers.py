"""TRL's trainers with rows that are token ids already; one mixin counts and reports.

Import after unsloth, which replaces these classes.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from serving.formats.render import IGNORED_LABEL
from training.child.events import Events, Phases
from training.child.processes import NormalisesByAllTokens, balance, row_lengths, row_tokens
from training.child.reporting import Reporter
from training.methods import METHODS, Method
from training.runs.folder import RunFolder
from training.runs.mismatched import other_completions
from training.runs.presets import RunSettings

ALIGNED = 64
"""Tokens of a packed batch are a multiple of this: kernels for other numbers are slower."""


class CountsTokens:
    """Counts tokens that are no padding; ``q2q_stopped`` tells that a stop was asked for."""

    q2q_tokens = 0
    q2q_stopped = False
    q2q_phases: Phases

    def training_step(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        """Count, then train."""
        self.q2q_tokens += _n_tokens(inputs)
        return super().training_step(model, inputs, *rest, **more)  # type: ignore[misc]  # of the trainer beside it

    def get_train_dataloader(self) -> Any:
        """Return the rows; several processes get equal shares."""
        loader = super().get_train_dataloader()  # type: ignore[misc]  # of the trainer beside it
        args, rows = self.args, self.train_dataset  # type: ignore[attr-defined]  # the same
        if args.world_size > 1:
            balance(
                loader, row_lengths(rows), batch=args.train_batch_size, processes=args.world_size
            )
        return loader

    def evaluate(self, *rest: Any, **more: Any) -> Any:
        """Look at the held-out rows, and count the time."""
        with self.q2q_phases.within("evaluation"):
            return super().evaluate(*rest, **more)  # type: ignore[misc]  # of the trainer beside it

    def _save_checkpoint(self, *rest: Any, **more: Any) -> Any:
        with self.q2q_phases.within("saving"):
            return super()._save_checkpoint(*rest, **more)  # type: ignore[misc]  # the same


def _n_tokens(inputs: Mapping[str, Any]) -> int:
    for name in ("packed_seq_lengths", "attention_mask"):
        if inputs.get(name) is not None:
            return int(inputs[name].sum())
    masks = [value for name, value in inputs.items() if name.endswith("_attention_mask")]
    return int(sum(mask.sum() for mask in masks)) if masks else int(inputs["input_ids"].numel())


class TakesIds(CountsTokens):
    """For trainers of preferences, which would make ids of texts: rows hold the ids already."""

    def _prepare_dataset(self, dataset: Any, *rest: Any, **more: Any) -> Any:
        return dataset

    def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
        """Load the adapter that learns as well: beside the reference's, transformers misses it.

        TRL keeps the reference as an adapter of its own, which is saved in a folder inside the
        checkpoint; where there is such a folder, transformers loads nothing outside it.
        """
        super()._load_from_checkpoint(checkpoint, model)  # type: ignore[misc]  # of the trainer beside it
        learns = self.model if model is None else model  # type: ignore[attr-defined]  # the same
        if (Path(checkpoint) / "ref").is_dir():
            learns.load_adapter(checkpoint, "default", is_trainable=True)
            learns.set_adapter("default")

    @staticmethod
    def tokenize_row(row: dict[str, Any], *rest: Any, **more: Any) -> dict[str, list[int]]:
        """Return the columns of a pair as experimental trainers call them."""
        columns = {}
        for name in ("chosen", "rejected"):
            prompt, completion = row["prompt_ids"], row[f"{name}_ids"]
            columns[f"{name}_input_ids"] = [*prompt, *completion]
            columns[f"{name}_attention_mask"] = [1] * len(prompt + completion)
            columns[f"{name}_labels"] = [IGNORED_LABEL] * len(prompt) + completion
        return columns


def _classes(method: Method) -> tuple[Any, Any]:
    """Return the trainer of a method, which reports and takes rows of ids, and its config."""
    module, _, name = method.trainer.rpartition(".")
    found = importlib.import_module(module)
    mixins: list[type] = [CountsTokens if method.rows == "demonstrations" else TakesIds]
    if method.means_tokens:
        mixins.append(NormalisesByAllTokens)
    trainer = type(method.label, (*mixins, getattr(found, name)), {})
    return trainer, getattr(found, name.replace("Trainer", "Config"))


def make_trainer(  # noqa: PLR0913  # all that a trainer is made of
    model: Any,
    tokenizer: Any,
    settings: RunSettings,
    folder: RunFolder,
    config: dict[str, Any],
    events: Events,
    phases: Phases,
    *,
    train_rows: list[dict[str, Any]],
    held_out_rows: list[dict[str, Any]],
) -> Any:
    """Return the trainer of the run's method, ready to train."""
    method = METHODS[config["method"]]
    trainer_class, config_class = _classes(method)
    learns_labels = method.rows == "demonstrations"
    if learns_labels and settings.loss_on == "all":
        for row in (*train_rows, *held_out_rows):
            row["labels"] = list(row["input_ids"])
    held_out_rows.sort(key=row_tokens)  # batches then hold little padding
    if method.pairs_prompts:
        step = settings.batch * settings.world_size  # paired alike by one process and by several
        held_out_rows = _with_other_completions(held_out_rows, step, train_rows)
        train_rows = _with_other_completions(train_rows, step)
    arguments = _arguments(settings, folder, has_held_out=bool(held_out_rows), config=config)
    arguments |= {name: getattr(settings, name) for name in method.settings}
    if settings.packing:
        arguments["pad_to_multiple_of"] = _filled_to(settings)
    trainer = trainer_class(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(train_rows),
        eval_dataset=Dataset.from_list(held_out_rows) if held_out_rows else None,
        args=config_class(**arguments),
    )
    if learns_labels:
        _check_learned(trainer, train_rows, events)
    if trainer.args.device.type == "cpu":  # "cpu:0", as several processes have it, loads no file
        trainer.args._setup_devices = torch.device("cpu")
    trainer.q2q_phases = phases
    trainer.add_callback(Reporter(trainer, tokenizer, folder, config, events))
    return trainer


def _filled_to(settings: RunSettings) -> int:
    """Return the multiple to which the tokens of a batch are filled up; padding learns nothing.

    Compiled layers get batches of one size, so that they are compiled once: packed sequences are
    nearly full anyway.
    """
    return settings.batch * settings.max_length if settings.layers == "compiled" else ALIGNED


def _check_learned(trainer: Any, rows: list[dict[str, Any]], events: Events) -> None:
    """Make sure that the trainer learns exactly the tokens of the rows, packed or not.

    Raises:
        RuntimeError: Its preparation changed the labels.
    """
    ours = sum(_learned(row["labels"]) for row in rows)
    theirs = sum(_learned(labels) for labels in trainer.train_dataset["labels"])
    if ours != theirs:
        raise RuntimeError(f"The trainer would learn {theirs} tokens in place of {ours}")
    events.write("learned", tokens=ours)


def _learned(labels: list[int]) -> int:
    return sum(label != IGNORED_LABEL for label in labels)


def _arguments(
    settings: RunSettings, folder: RunFolder, *, has_held_out: bool, config: dict[str, Any]
) -> dict[str, Any]:
    on_cpu = config["device"] == "cpu"
    half = on_cpu or torch.cuda.is_bf16_supported()
    return {
        "output_dir": str(folder.checkpoints),
        "per_device_train_batch_size": settings.batch,
        "per_device_eval_batch_size": settings.batch,
        "gradient_accumulation_steps": settings.accumulation,
        "max_length": settings.max_length,
        "max_steps": settings.max_steps or -1,
        "num_train_epochs": settings.epochs or 1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "optim": settings.optimizer,
        "seed": settings.seed,
        "bf16": half,
        "fp16": not half,
        "use_cpu": on_cpu,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would wait for the backward pass in each step
        "save_strategy": "steps",
        "save_steps": settings.save_every,
        "save_total_limit": 2,
        "eval_strategy": "steps" if has_held_out else "no",
        "eval_steps": settings.eval_every,
        "eval_on_start": has_held_out,
        "report_to": settings.report_to,
        "run_name": folder.path.name,
        "project": "q2q",  # run_name, project: of Trackio
        "trackio_static_space_id": False,  # nothing goes to the hub
        "disable_tqdm": True,
        "dataset_num_proc": 1,
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,
        **({"ddp_backend": "gloo"} if on_cpu and settings.world_size > 1 else {}),
        "dataloader_num_workers": 0,
    }


def _with_other_completions(
    rows: list[dict[str, Any]], batch: int, spare: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return rows with the completion of another prompt for the KL term; without those of none."""
    found = other_completions(rows, batch, spare or ())
    return [
        row | {"KL_completion_ids": other}
        for row, other in zip(rows, found, strict=True)
        if other is not None
    ]
