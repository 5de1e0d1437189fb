"""Child process: does the merged folder say what the adapter on the 16-bit base says?

Both are loaded one after the other, as anybody would load them. Letters: b = texts, t = tokens,
v = vocabulary.
"""

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from db.child_process import send, serve

_STEPS = 4
_ROOM = 3
"""Bytes of memory for a byte of 16-bit weights, in 32 bits: two, and what is computed."""
_LEAST_LIKELY = 1e-4
"""Mean probability of stopping, a position, below which a model does not stop within a text."""
_SLACK_TOKENS = 32
"""A merged model may take so many tokens more before it stops: texts go together here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A fixed prompt with what the adapter wrote to it greedily."""

    prompt: list[int]
    completion: list[int]
    """Its stop token included where there is one."""
    stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPositions:
    """Where the adapter stopped: the texts, and what the merge makes of these places."""

    texts: list[Written]
    is_first: list[bool]
    """Whether the merge, too, holds stopping for the likeliest."""
    difference: float
    """Largest difference of the log-probability of stopping, nats."""


def prove_outputs(spec: dict[str, Any]) -> dict[str, Any]:
    """Compare logits and endings.

    Spec: ``base``, ``adapter``, ``merged``, ``device``, ``prompts`` (lists of ids), ``stop_ids``,
    ``max_new_tokens``. KL is in nats a position, mean over all positions of all fixed texts.
    """
    device, stops = spec["device"], list(spec["stop_ids"])
    dtype = _dtype(device, Path(spec["merged"]))
    send(done=0, total=_STEPS, message="Loading the base and its adapter.")
    base = _load(spec["base"], device, dtype)
    plain = [_logits(base, prompt) for prompt in spec["prompts"]]
    adapted = PeftModel.from_pretrained(base, spec["adapter"]).eval()
    send(done=1, total=_STEPS, message="Writing the fixed texts with the adapter.")
    written = _write(adapted, spec["prompts"], stops, spec["max_new_tokens"])
    wanted = [_logits(adapted, text.prompt + text.completion) for text in written]
    moved = _mean_kl([one[: len(p)] for one, p in zip(wanted, spec["prompts"], strict=True)], plain)
    del adapted, base, plain
    _drop_cache(device)
    send(done=2, total=_STEPS, message="Loading the merged model.")
    merged = _load(spec["merged"], device, dtype)
    found = [_logits(merged, text.prompt + text.completion) for text in written]
    send(done=3, total=_STEPS, message="Waiting for the merged model to stop by itself.")
    ends = stop_positions(written, wanted, found, stops)
    ahead = [text for text, is_first in zip(ends.texts, ends.is_first, strict=True) if is_first]
    ended = _stopped_by_itself(merged, ahead, stops)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "positions": sum(len(one) for one in wanted),
        "mean_kl": _mean_kl(wanted, found),
        "max_kl": max(float(_kl(a, b).max()) for a, b in zip(wanted, found, strict=True)),
        "max_logit": max(float((a - b).abs().max()) for a, b in zip(wanted, found, strict=True)),
        "moved_kl": moved,
        "texts": len(written),
        "stopped_adapter": len(ends.texts),
        "stops_first": len(ahead),
        "stopped_merged": ended,
        "stop_logprob": ends.difference,
    }


def _dtype(device: str, folder: Path) -> torch.dtype:
    """Return float32 where it fits, since it shows the weights and not the arithmetic."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return torch.float32 if _ROOM * size < _free_bytes(device) else torch.bfloat16


def _free_bytes(device: str) -> int:
    if device == "cpu":
        return psutil.virtual_memory().available
    return sum(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))


def _load(folder: str, device: str, dtype: torch.dtype) -> PreTrainedModel:
    place = "auto" if device == "cuda" else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, device_map=place, local_files_only=True
    )
    return model.eval()


def _drop_cache(device: str) -> None:
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def _logits(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """Return the logits (t, v) of one text, float32, on the CPU."""
    batch = torch.tensor([list(ids)], device=model.device)
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=batch).logits[0]
    return logits.float().cpu()


def _write(
    model: PreTrainedModel, prompts: Sequence[list[int]], stops: list[int], max_new_tokens: int
) -> list[Written]:
    new = _generate(model, prompts, max_new_tokens, stops[0], eos_token_id=stops)
    return [
        Written(prompt=prompt, completion=ids, stopped=bool(ids) and ids[-1] in stops)
        for prompt, ids in zip(prompts, (_until(ids, stops) for ids in new), strict=True)
    ]


def _until(ids: list[int], stops: Sequence[int]) -> list[int]:
    """Cut off the padding after the first stop token, which stays."""
    end = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
    return ids[:end]


def _generate(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    pad: int,
    **options: Any,
) -> list[list[int]]:
    """Return what is written greedily to each prompt; the prompts go together, padded left."""
    width = max(map(len, prompts))
    ids = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    with torch.inference_mode():
        made = model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=pad,
            **options,
        )
    new: list[list[int]] = made[:, width:].tolist()
    return new


def _stopped_by_itself(model: PreTrainedModel, texts: Sequence[Written], stops: list[int]) -> int:
    """Return how many texts, up to their stop token, the model ends by its own settings."""
    if not texts:
        return 0
    own = model.generation_config.eos_token_id
    named = set(own if isinstance(own, list) else [own]) & set(stops)
    begun = [text.prompt + text.completion[:-1] for text in texts]
    new = _generate(model, begun, _SLACK_TOKENS, stops[0])
    return sum(any(token in named for token in ids) for ids in new)


def _kl(wanted: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Return KL(wanted ‖ found) in nats, for each position of logits (t, v)."""
    p, q = wanted.log_softmax(-1), found.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def _mean_kl(wanted: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> float:
    return float(torch.cat([_kl(a, b) for a, b in zip(wanted, found, strict=True)]).mean())


def stop_positions(
    written: Sequence[Written],
    wanted: Sequence[torch.Tensor],
    found: Sequence[torch.Tensor],
    stops: list[int],
) -> StopPositions:
    """Compare how likely stopping is where the adapter stops, from logits of adapter and merge.

    Where the adapter ends no text, the mean probability of stopping over all positions is: at any
    one of them it may be next to nothing, and its logarithm then shows little but rounding.
    """
    pairs = list(zip(written, wanted, found, strict=True))
    ending = [(text, a[-2:-1], b[-2:-1]) for text, a, b in pairs if text.stopped]
    return StopPositions(
        texts=[text for text, _, _ in ending],
        is_first=[int(b[0].argmax()) in stops for _, _, b in ending],
        difference=max(_stop_difference(a, b, stops) for _, a, b in ending)
        if ending
        else _stop_difference(torch.cat([*wanted]), torch.cat([*found]), stops),
    )


def _stop_difference(wanted: torch.Tensor, found: torch.Tensor, stops: list[int]) -> float:
    """Return the difference of the log of the mean probability of stopping, logits (t, v)."""
    p, q = (one.softmax(-1)[:, stops].sum(-1).mean() for one in (wanted, found))
    return abs(float((p.clamp(min=_LEAST_LIKELY) / q.clamp(min=_LEAST_LIKELY)).log()))


if __name__ == "__main__":
    sys.exit(serve(prove_outputs))
