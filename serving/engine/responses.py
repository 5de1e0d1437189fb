"""Answers of a server into choices. Trusts nothing: any JSON may come back."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from db.messages import Message
from serving.engine.messages import (
    Choice,
    CompletionRequest,
    CoreLoad,
    EngineLoad,
    MissingChoice,
    OfferedModel,
    Prompt,
    RequestFailed,
    Usage,
)
from serving.words import UNSPACED

_FINGERPRINT = re.compile(r"^vllm-(\d+\.\d+\.\d+[^-]*)")
_SAMPLE = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|generation_tokens_total)"
    r"(?:\{([^}]*)\})?\s+([0-9.eE+-]+)\s*$",
    re.MULTILINE,
)
_ENGINE_LABEL = re.compile(r'(?:^|,)\s*engine="(\d{1,6})"')
_NODE_LABEL = re.compile(r'(?:^|,)\s*node="([\w.:-]{1,64})"')
"""Of our own ingress on a Ray cluster (``serving.cluster.ingress``)."""
_UNUSABLE_ENDS = frozenset({"abort", "error"})
_END_OF_OTHER_SERVERS = {
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence", "stop_token"), "stop"),
    **dict.fromkeys(("max_tokens", "max_length"), "length"),
}
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Where servers put the reasoning that they have taken out of a text."""
_MAX_TOKENS = 2**31 - 1
_ROUNDING = 1e-3
"""A logarithm of a probability may be so much above 0 by rounding."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``.

    Raises:
        RequestFailed: it holds anything else.
    """
    parsed = parse_json(body)
    if not isinstance(parsed, dict):
        raise RequestFailed("The model server's answer is no JSON object.")
    return parsed


def parse_choices(
    answer: Mapping[str, Any], request: CompletionRequest
) -> tuple[tuple[Choice, ...], tuple[MissingChoice, ...]]:
    """Return the choices in order, and the places that the server left empty.

    Raises:
        RequestFailed: there is no usable choice at all.
    """
    listed = answer.get("choices")
    if not isinstance(listed, list):
        raise RequestFailed("The model server's answer has no list of choices.")
    usage = answer.get("usage")
    found: dict[int, Choice] = {}
    problems: dict[int, str] = {}
    for position, raw in enumerate(listed):
        if not isinstance(raw, dict):
            continue
        index = raw.get("index", position)
        if not isinstance(index, int) or not 0 <= index < request.n_choices or index in found:
            continue
        text = text_of(raw)
        if text is None:
            problems[index] = "The model server gave a choice without text."
        elif _is_unusable(raw.get("finish_reason")):
            problems[index] = Message(
                "The model server ended it early ({detail}).", detail=raw["finish_reason"]
            )
        else:
            found[index] = _choice(
                index, raw, text, request, usage if isinstance(usage, dict) else {}
            )
    if not found:
        raise RequestFailed(
            next(iter(problems.values()), "The model server's answer has no choices.")
        )
    absent = f"The model server gave {len(listed)} of {request.n_choices} choices."
    missing = tuple(
        MissingChoice(
            prompt_index=index // request.n,
            choice_index=index % request.n,
            error=problems.get(index, absent),
        )
        for index in range(request.n_choices)
        if index not in found
    )
    return tuple(found[index] for index in sorted(found)), missing


def parse_usage(answer: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that the server counts; None where it does not tell.

    Some count those of a reasoning in the total only.
    """
    told = answer.get("usage")
    if not isinstance(told, dict):
        return None
    prompt, completion, total = (
        _count(told.get(f"{name}_tokens")) for name in ("prompt", "completion", "total")
    )
    if prompt is None or completion is None:
        return None
    return Usage(prompt, max(completion, (total or 0) - prompt))


def cuts_some_prompt(answer: Mapping[str, Any], request: CompletionRequest) -> bool:
    """Tell whether the summed usage of several prompts is less than was sent."""
    usage = answer.get("usage")
    reported = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return len(request.prompts) > 1 and cut_problem(request.prompts, reported) is not None


def _is_unusable(finish_reason: object) -> bool:
    return isinstance(finish_reason, str) and finish_reason in _UNUSABLE_ENDS


def text_of(raw: Mapping[str, Any]) -> str | None:
    """Return the text of a choice with its reasoning in front, tagged; None if it has neither.

    Nothing is dropped here: whoever reads the text tells the two apart.
    """
    message = raw.get("message")
    reported = message if isinstance(message, dict) and "text" not in raw else raw
    text = reported.get("content" if reported is message else "text")
    reasonings = (reported.get(name) for name in _REASONING_FIELDS)
    reasoning = next((one for one in reasonings if isinstance(one, str) and one.strip()), None)
    if not isinstance(text, str):
        if reasoning is None:
            return None
        text = ""
    if reasoning is not None and reasoning.strip() not in text:
        text = f"<think>\n{reasoning.strip()}\n</think>\n\n{text}"
    return storable(text)


def _finish_reason(reported: object, completion_tokens: int | None, max_tokens: int) -> str | None:
    """Return why a completion ended, in OpenAI's words where they mean the same."""
    if isinstance(reported, str):
        return _END_OF_OTHER_SERVERS.get(reported.lower(), storable(reported))
    is_full = completion_tokens is not None and completion_tokens >= max_tokens
    return "length" if is_full else None


def _choice(
    index: int,
    raw: Mapping[str, Any],
    text: str,
    request: CompletionRequest,
    usage: Mapping[str, Any],
) -> Choice:
    prompt_index, choice_index = divmod(index, request.n)
    prompt = request.prompts[prompt_index]
    token_ids = raw.get("token_ids")
    prompt_ids = raw.get("prompt_token_ids")
    completion_tokens: object = None
    prompt_tokens: object = None
    if isinstance(token_ids, list):
        completion_tokens = len(token_ids)
    elif request.n_choices == 1:
        counted = parse_usage({"usage": usage})
        completion_tokens = counted.completion_tokens if counted else usage.get("completion_tokens")
    if isinstance(prompt_ids, list):
        prompt_tokens = len(prompt_ids)
    elif len(request.prompts) == 1:
        prompt_tokens = usage.get("prompt_tokens")
    problem = cut_problem([prompt], prompt_tokens)
    if not isinstance(prompt, str) and problem is None:
        prompt_tokens = len(prompt)
    n_tokens = _count(completion_tokens)
    stop_reason = raw.get("stop_reason")
    if isinstance(stop_reason, str):
        stop_reason = storable(stop_reason)
    return Choice(
        prompt_index=prompt_index,
        choice_index=choice_index,
        text=text,
        finish_reason=_finish_reason(
            raw.get("finish_reason"), n_tokens, request.sampling.max_tokens
        ),
        stop_reason=stop_reason if isinstance(stop_reason, str | int) else None,
        completion_tokens=n_tokens,
        prompt_tokens=_count(prompt_tokens),
        prompt_log_probs=_log_probs(raw.get("prompt_logprobs"), prompt),
        prompt_alternatives=(
            _alternatives(raw.get("prompt_logprobs"), prompt)
            if request.prompt_alternatives
            else None
        ),
        prompt_problem=problem,
    )


def _log_probs(reported: object, prompt: Prompt) -> tuple[float | None, ...] | None:
    """Return the logarithm of each of the prompt's own tokens; None unless all can be read."""
    if isinstance(prompt, str) or not isinstance(reported, list) or len(reported) != len(prompt):
        return None
    found: list[float | None] = []
    for place, (token_id, entry) in enumerate(zip(prompt, reported, strict=True)):
        own = entry.get(str(token_id)) if isinstance(entry, dict) else None
        value = _log_prob(own.get("logprob")) if isinstance(own, dict) else None
        if value is None and place:
            return None
        found.append(value)
    return tuple(found)


def _alternatives(reported: object, prompt: Prompt) -> tuple[dict[int, float], ...] | None:
    """Return the tokens that are told of at each place but the first; None unless all can be."""
    if isinstance(prompt, str) or not isinstance(reported, list) or len(reported) != len(prompt):
        return None
    found: list[dict[int, float]] = []
    for entry in reported[1:]:
        if not isinstance(entry, dict):
            return None
        told = {
            int(key): _log_prob(one.get("logprob"))
            for key, one in entry.items()
            if key.isdecimal() and isinstance(one, dict)
        }
        found.append({token: value for token, value in told.items() if value is not None})
    return tuple(found)


def _log_prob(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value > _ROUNDING:  # type: ignore[arg-type, operator]
        return None
    return min(0.0, float(value))  # type: ignore[arg-type]


def _count(value: object) -> int | None:
    """Return a number of tokens that a store can hold; None for anything else a server says."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_TOKENS
    return value if is_count else None  # type: ignore[return-value]


def parse_software(answer: Mapping[str, Any]) -> str | None:
    """Return e.g. ``vllm 0.32.0`` from the fingerprint of a completion, if it tells."""
    fingerprint = answer.get("system_fingerprint")
    match = _FINGERPRINT.match(fingerprint) if isinstance(fingerprint, str) else None
    return f"vllm {match.group(1)}" if match else None


def parse_models(answer: Mapping[str, Any]) -> tuple[OfferedModel, ...]:
    """Return the models of a ``/v1/models`` answer; what is not readable is left out."""
    listed = answer.get("data")
    models = []
    for raw in listed if isinstance(listed, list) else ():
        if isinstance(raw, dict) and isinstance(raw.get("id"), str):
            length = _count(raw.get("max_model_len"))
            base = raw.get("parent")
            models.append(
                OfferedModel(
                    name=raw["id"],
                    context_length=length or None,
                    base=base if isinstance(base, str) else None,
                )
            )
    return tuple(models)


def parse_load(text: str) -> EngineLoad | None:
    """Return the load from a Prometheus page of vLLM; None if it is not one.

    Several engines behind one address add up; of their caches, the fullest counts.
    """
    by_engine: dict[int, dict[str, float]] = {}
    nodes: dict[int, str] = {}
    for name, labels, value in _SAMPLE.findall(text):
        label = _ENGINE_LABEL.search(labels)
        try:
            number = float(value)
        except ValueError:
            return None
        if not math.isfinite(number):
            return None
        engine = int(label[1]) if label else 0
        if node := _NODE_LABEL.search(labels):
            nodes[engine] = node[1]
        found = by_engine.setdefault(engine, {})
        found[name] = found.get(name, 0.0) + number
    if not by_engine or any("num_requests_running" not in one for one in by_engine.values()):
        return None
    cores = tuple(
        _core(engine, found, nodes.get(engine)) for engine, found in sorted(by_engine.items())
    )
    return EngineLoad(
        running=sum(core.running for core in cores),
        waiting=sum(core.waiting for core in cores),
        kv_cache_usage=max(core.kv_cache_usage for core in cores),
        cores=cores,
    )


def _core(engine: int, found: Mapping[str, float], node: str | None) -> CoreLoad:
    return CoreLoad(
        engine=engine,
        running=int(found["num_requests_running"]),
        waiting=int(found.get("num_requests_waiting", 0)),
        kv_cache_usage=found.get("kv_cache_usage_perc", 0.0),
        generated_tokens=int(found.get("generation_tokens_total", 0)),
        node=node,
    )


_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def parse_json(body: bytes) -> Any:
    """Return what ``body`` holds, its strings sanitised; None where it is no JSON at all."""
    try:
        return orjson.loads(body)  # refuses lone surrogates and NaN; takes whole pairs
    except orjson.JSONDecodeError:
        pass
    try:
        return _sanitised(json.loads(body.decode("utf-8", errors="replace")))
    except (ValueError, RecursionError):
        return None


def storable(text: str) -> str:
    """Return ``text`` with U+FFFD for every character that no database of ours holds."""
    return _UNSTORABLE.sub("\ufffd", text)


def _sanitised(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_sanitised(one) for one in value]
    if isinstance(value, dict):
        return {storable(name): _sanitised(one) for name, one in value.items()}
    return value


_WORD = re.compile(r"\S+")
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}\uac00-\ud7af]")
_MIN_WORDS = 64
"""Shorter prompts fit every context; an odd count says nothing there."""


def least_tokens(prompt: Prompt) -> int:
    """Return how many tokens a prompt has at least: exact for ids, a safe bound for text.

    Tokenizers split at spaces, so that words are no more than tokens; those few that join words
    save less than a quarter. Of scripts without spaces a token holds hardly ever four characters.
    """
    if not isinstance(prompt, str):
        return len(prompt)
    n_unspaced = len(_UNSPACED_LETTER.findall(prompt))
    n_words = len(_WORD.findall(_UNSPACED_LETTER.sub(" ", prompt)))
    least = n_words * 3 // 4 + n_unspaced // 4
    return least if least >= _MIN_WORDS else 0


def cut_problem(prompts: Sequence[Prompt], reported: object) -> str | None:
    """Say that a server read fewer tokens than ``prompts`` have together; None if it did not.

    ``reported`` is its count; anything but a positive number says nothing.
    """
    if not isinstance(reported, int) or isinstance(reported, bool) or reported <= 0:
        return None
    least = sum(map(least_tokens, prompts))
    if reported >= least:
        return None
    about = "" if all(not isinstance(prompt, str) for prompt in prompts) else "at least "
    return Message(
        "the server read {n:,} tokens of a prompt of {about}{least:,}",
        n=reported,
        about=about,
        least=least,
    )
