"""Turns of a chat in the shapes of ShareGPT, ChatML and TRL: one question and what was answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.importers.told import Refused, Told, kind_of, label_of, text_of

SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
}
"""What the files call who speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnKeys:
    """How a file writes its turns, where it is not as everybody else does."""

    speaker: Sequence[str] = ("role", "from")
    text: Sequence[str] = ("content", "value")
    speakers: Mapping[str, str] = field(default_factory=lambda: SPEAKERS)


USUAL = TurnKeys()


@dataclass(slots=True)
class _Said:
    system: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    assistant: list[str] = field(default_factory=list)


def is_of_turns(values: Mapping[str, Any]) -> bool:
    """Tell whether a row is a prompt and what follows it, rather than named texts."""
    if "conversations" in values or "messages" in values:
        return True
    has_prompt = "prompt" in values and not {"instruction", "question"} & values.keys()
    return (has_prompt and "completion" in values) or (
        "chosen" in values and not {"instruction", "question"} & values.keys()
    )


def told_by(values: Mapping[str, Any], keys: TurnKeys = USUAL) -> Told:
    """Return what a row of turns says.

    Raises:
        Refused: It is no question with one answer, or with a better and a worse one.
    """
    for name in ("conversations", "messages"):
        if name in values:
            return _conversation(values, name, keys)
    return _prompted(values, keys)


def _conversation(values: Mapping[str, Any], name: str, keys: TurnKeys) -> Told:
    said = _said(values[name], name, keys)
    system = text_of(values, "system") or _one(said.system)
    fields = {"prompt": name, "completion": name, "rejected": "rejected"}
    if "chosen" in values or "rejected" in values:
        return Told(
            prompt=said.user[0],
            system=system,
            completion=_completion(values, "chosen", keys),
            rejected=_completion(values, "rejected", keys),
            fields=fields | {"completion": "chosen"},
        )
    return Told(
        prompt=said.user[0],
        system=system,
        completion=_one(said.assistant),
        label=label_of(values),
        fields=fields,
    )


def _prompted(values: Mapping[str, Any], keys: TurnKeys) -> Told:
    better = "chosen" if "chosen" in values else "completion"
    if "prompt" in values:
        system, prompt = _prompt(values, "prompt", keys)
    else:  # TRL takes what chosen and rejected have in common for the prompt
        system, prompt = _prompt(values, better, keys)
    is_pair = better == "chosen"
    return Told(
        prompt=prompt,
        system=text_of(values, "system") or system,
        completion=_completion(values, better, keys),
        rejected=_completion(values, "rejected", keys) if is_pair else None,
        label=None if is_pair else label_of(values),
        fields={
            "prompt": "prompt" if "prompt" in values else better,
            "completion": better,
            "rejected": "rejected",
        },
    )


def _prompt(values: Mapping[str, Any], name: str, keys: TurnKeys) -> tuple[str | None, str]:
    value = values[name]
    if isinstance(value, str) and name == "prompt":
        if not value.strip():
            raise Refused(name, "is empty; fill it in or remove the row.")
        return None, value.strip()
    if isinstance(value, str):
        raise Refused("prompt", "is not there; give the prompt in a field of its own.")
    said = _said(value, name, keys)
    return _one(said.system), said.user[0]


def _completion(values: Mapping[str, Any], name: str, keys: TurnKeys) -> str | None:
    """Return what is to be written, or what is rather not: a text, a turn, or a list of turns."""
    value = values.get(name)
    if value is None or isinstance(value, str):
        text = (value or "").strip()
        if not text:
            raise Refused(name, "is empty; fill it in or remove the row.")
        return text
    turns = [value] if isinstance(value, dict) else value
    said = _said(turns, name, keys, needs_user=False)
    if len(said.assistant) != 1:
        raise Refused(name, f"holds {len(said.assistant)} answers; one is needed.")
    return said.assistant[0]


def _said(turns: Any, name: str, keys: TurnKeys, *, needs_user: bool = True) -> _Said:
    """Return who said what.

    Raises:
        Refused: There is more than one question with one answer, or something that is no text.
    """
    if not isinstance(turns, (list, tuple)):
        raise Refused(name, f"holds {kind_of(turns)}; give a list of turns.")
    said = _Said()
    for turn in turns:
        speaker, text = _turn(turn, name, keys)
        getattr(said, speaker).append(text)
    limits = (("system", said.system), ("user", said.user), ("assistant", said.assistant))
    if needs_user and not said.user:
        raise Refused(name, "holds no turn of the user, which is the question; add it.")
    if any(len(texts) > 1 for _, texts in limits):
        raise Refused(
            name,
            f"holds {len(turns)} turns; a row is one question with one answer. Split it into rows,"
            " with what was said before in the question's context.",
        )
    return said


def _turn(turn: Any, name: str, keys: TurnKeys) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise Refused(name, f"holds {kind_of(turn)} in place of a turn; give speaker and text.")
    speaker = next((turn[key] for key in keys.speaker if turn.get(key) is not None), None)
    text = next((turn[key] for key in keys.text if turn.get(key) is not None), None)
    known = keys.speakers.get(str(speaker))
    if known is None:
        raise Refused(
            name, f"holds a turn of {speaker!r}; only system, user and assistant are taken."
        )
    if isinstance(text, list) and all(isinstance(one, dict) for one in text):
        parts = [one.get("text") for one in text]
        text = "\n".join(map(str, parts)) if all(isinstance(one, str) for one in parts) else None
    if not isinstance(text, str) or not text.strip():
        raise Refused(name, f"holds a turn of {speaker!r} without a text; add it.")
    return known, text.strip()


def _one(texts: Sequence[str]) -> str | None:
    return texts[0] if texts else None
