"""What the trainer says while it trains: figures, sample texts, checkpoints; and its stop."""

import logging
import math
import resource
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from unsloth import FastLanguageModel

from training.child.events import Events, SaveTimer, check_finite
from training.child.processes import summed
from training.child.setup import RECOMPUTATION
from training.runs.folder import COMPLETE, RunFolder, read_rows

log = logging.getLogger(__name__)
_NAMES = {"eval_loss": "held_out_loss", "loss": "loss", "grad_norm": "grad_norm"}
_LEFT_OUT = ("runtime", "per_second", "epoch", "total_flos", "train_loss", "num_tokens")
LONGEST_TEXTS_S = 10.0
"""One look's texts are cut after so long: on a busy CPU they would take as long as all steps."""
TEXTS_SHARE = 0.05
"""At most so much of the time goes into sample texts of looks between the first and the last."""


class Reporter(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Turns the trainer's log into events."""

    def __init__(
        self,
        trainer: Any,
        tokenizer: Any,
        folder: RunFolder,
        config: dict[str, Any],
        events: Events,
    ) -> None:
        self._trainer = trainer
        self._tokenizer = tokenizer
        self._folder = folder
        self._config = config
        self._events = events
        self._started = self._since = time.monotonic()
        self._save_timer = SaveTimer()
        self._texts_took: list[float] = []
        """Seconds of each look's sample texts."""
        self._seen = 0
        """Tokens of this process that are in the sum."""
        self._tokens = 0.0
        """Of all processes."""
        self._counted = 0.0
        """Of these, those whose speed is told."""
        self._began: tuple[float, int] | None = None
        """When the first step of this process was done, and which it was."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Say how many steps there will be."""
        self._trainer.q2q_phases.begin("first_step")
        self._events.write("begin", step=state.global_step, total=state.max_steps)
        self._since = time.monotonic()
        self._save_timer.restart()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Look whether somebody wants an end or a checkpoint is due; all processes decide alike."""
        if self._began is None:
            self._began = (time.monotonic(), state.global_step)
            self._trainer.q2q_phases.begin("steps")
        tokens = self._trainer.q2q_tokens - self._seen
        self._seen = self._trainer.q2q_tokens
        asked = [self._folder.stop.exists(), self._save_timer.is_due, tokens]
        stops, due, tokens = summed(asked, self._trainer.args.device)
        self._tokens += tokens
        if due:
            control.should_save = True
        if stops:
            self._trainer.q2q_stopped = state.global_step < state.max_steps
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        """Report figures as they come."""
        logs = dict(logs or {})
        check_finite(logs.get("loss", 0.0), state.global_step)
        metrics = {
            _name(name): float(value) for name, value in logs.items() if _is_reported(name, value)
        }
        if "loss" in metrics:
            metrics |= self._speed(state.global_step)
        if metrics:
            left = self._seconds_left(state)
            self._events.write("metrics", step=state.global_step, values=metrics, seconds_left=left)

    def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Answer the fixed questions."""
        if state.is_world_process_zero and self._texts_are_due(state):
            started = time.monotonic()
            with self._trainer.q2q_phases.within("samples"):
                samples = self._samples()
            self._texts_took.append(time.monotonic() - started)
            if samples:
                self._events.write("samples", step=state.global_step, samples=samples)
        self._since = time.monotonic()

    def _texts_are_due(self, state: Any) -> bool:
        """Say whether a look has time for texts: the first and the last one do."""
        every = self._config["settings"]["eval_every"]
        if not self._texts_took or state.global_step + every > state.max_steps:
            return True
        spent = sum(self._texts_took) + self._texts_took[-1]
        return spent <= TEXTS_SHARE * (time.monotonic() - self._started)

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Mark the checkpoint as whole."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            (checkpoint / COMPLETE).touch()
            self._events.write("checkpoint", step=state.global_step)
        self._since = time.monotonic()
        self._save_timer.restart()

    def _samples(self) -> list[dict[str, Any]]:
        """Return sample texts; a run does not end because they could not be written."""
        try:
            return write_samples(
                self._trainer.model,
                self._tokenizer,
                self._folder,
                self._config["sample_tokens"],
                recomputation=RECOMPUTATION[self._config["settings"]["recomputation"]],
            )
        except (RuntimeError, ValueError, TypeError, AttributeError):
            log.exception("No sample texts could be written")
            return []

    def _seconds_left(self, state: Any) -> float | None:
        """Return how long the rest will take, held-out rows and sample texts included."""
        if self._began is None or state.global_step <= self._began[1]:
            return None
        done = state.global_step - self._began[1]
        each = (time.monotonic() - self._began[0]) / done
        return float(each * (state.max_steps - state.global_step))

    def _speed(self, step: int) -> dict[str, float]:
        """Return memory, and tokens a second but for the first step, which compiles."""
        now = time.monotonic()
        tokens = self._tokens - self._counted
        seconds = max(now - self._since, 1e-6)
        self._counted, self._since = self._tokens, now
        if self._began is None or step == self._began[1]:
            return {"memory_gib": memory_gib()}
        return {
            "tokens_per_second": tokens / seconds,
            "memory_gib": memory_gib(),
        }


def memory_gib() -> float:
    """Return the highest memory so far in GiB: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_reserved()) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _is_reported(name: str, value: Any) -> bool:
    if any(part in name for part in _LEFT_OUT) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _name(name: str) -> str:
    return _NAMES.get(name, name.replace("eval_", "held_out_"))


def write_samples(
    model: Any, tokenizer: Any, folder: RunFolder, max_tokens: int, *, recomputation: Any
) -> list[dict[str, Any]]:
    """Return what the model writes now; the model is in training mode again afterwards."""
    questions = list(read_rows(folder.questions))
    if not questions:
        return []
    FastLanguageModel.for_inference(model)
    try:
        with torch.no_grad():
            return _answered(model, tokenizer, questions, max_tokens)
    finally:
        FastLanguageModel.for_training(model, use_gradient_checkpointing=recomputation)


def _answered(
    model: Any, tokenizer: Any, questions: list[dict[str, Any]], max_tokens: int
) -> list[dict[str, Any]]:
    """Return the answers to all questions, written side by side."""
    stops = sorted({stop for one in questions for stop in one["stop_token_ids"]})
    longest = max(len(one["prompt_ids"]) for one in questions)
    padding = [longest - len(one["prompt_ids"]) for one in questions]
    prompts = [
        [stops[0]] * n + one["prompt_ids"] for n, one in zip(padding, questions, strict=True)
    ]
    mask = [[0] * n + [1] * (longest - n) for n in padding]
    written = model.generate(
        input_ids=torch.tensor(prompts, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=max_tokens,
        max_time=LONGEST_TEXTS_S,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )[:, longest:].tolist()
    return [
        _answer(tokenizer, question, ids) for question, ids in zip(questions, written, strict=True)
    ]


def _answer(tokenizer: Any, question: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    end = next((i for i, one in enumerate(ids) if one in question["stop_token_ids"]), None)
    return {
        "question_id": question["question_id"],
        "question": question["question"],
        "text": tokenizer.decode(ids[:end]),
        "stopped": end is not None,
    }
