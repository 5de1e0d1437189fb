"""Identity: short hashes of content, and short names of what the store holds.

A hash is the first 128 bits of a SHA-256 over length-prefixed parts, as 32 hexadecimal digits:
equal content has an equal hash, and different lists of parts do not collide by concatenation. A
short name is a letter for the kind and the id, e.g. ``v12``.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from db.errors import UsageError


def short_hash(*parts: str | bytes) -> str:
    """Return 32 hexadecimal digits that stand for ``parts``, their order and their borders."""
    pieces: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        pieces += (len(data).to_bytes(8, "little"), data)
    return hashlib.sha256(b"".join(pieces)).hexdigest()[:32]


def json_hash(value: Mapping[str, Any]) -> str:
    """Return the hash of ``value`` as canonical JSON: sorted keys, no spaces."""
    return short_hash(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def text_hash(text: str) -> str:
    """Return the hash of ``text`` in Unicode's composed form, outer white space left out."""
    if not text:
        return _NO_TEXT
    return short_hash((text if text.isascii() else unicodedata.normalize("NFC", text)).strip())


_NO_TEXT = short_hash("")
"""Most questions have no context."""


def question_hash(text: str, context: str = "", role: str = "assistant") -> str:
    """Return what identifies a question; importing an equal one again adds nothing."""
    return short_hash(text_hash(text), text_hash(context), role)


def slot_key(
    *,
    question: str,
    prompt: str,
    model: str,
    sampling: str,
    replicate: int,
    variant_id: int | None = None,
) -> str:
    """Return the key of a slot: a hash of all that changes its result.

    Args:
        question: ``content_hash`` of the question (equal prompts of two questions stay two slots).
        prompt: ``content_hash`` of the rendered prompt.
        model: Digest of the model version, or its name where it is only declared.
        sampling: ``content_hash`` of the sampling set, stop strings and an asked-for seed included.
        replicate: i < k for a reasoning slot, j < n for an answer slot.
        variant_id: The variant that an answer slot belongs to.
    """
    return short_hash(question, prompt, model, sampling, str(replicate), str(variant_id or ""))


Precision = Literal["bf16", "fp8", "nf4", "awq", "gptq"]
"""How a server keeps the weights of a model: another one writes other texts.

``bf16``: 16 bit, as they are stored; ``fp8`` and ``nf4``: quantised when the server loads them
(``nf4`` by bitsandbytes); ``awq`` and ``gptq``: folders that are quantised already, as they come.
"""
AS_STORED: Precision = "bf16"
"""What rows without a precision were written in."""
WHEN_LOADED: tuple[Precision, ...] = ("fp8", "nf4")
"""Precisions that a server makes of 16-bit weights when it loads them."""

RefKind = Literal[
    "question", "variant", "answer", "generation", "model", "dataset", "training_run", "round"
]
LETTERS: dict[str, RefKind] = {
    "q": "question",
    "v": "variant",
    "a": "answer",
    "g": "generation",
    "m": "model",
    "d": "dataset",
    "t": "training_run",
    "r": "round",
}


def number_in(text: str, letter: str = "") -> int | None:
    """Return the id in ``text``, after ``letter`` (a pattern); None where it is no id."""
    found = re.fullmatch(f"{letter}([0-9]{{1,18}})", text)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Ref:
    """What a short name stands for."""

    kind: RefKind
    id: int

    def __str__(self) -> str:
        return f"{self.kind[0]}{self.id}"


def parse_ref(value: str) -> Ref:
    """Return what ``value``, e.g. ``v12``, stands for.

    Raises:
        UsageError: It is no such name.
    """
    typed = unicodedata.normalize("NFKC", value).strip().lower()  # of full width, too
    match = re.fullmatch(r"([qvagmdtr])([0-9]{1,18})", typed)
    if match is None:
        raise UsageError(
            "{value!r} is no id; ids are a letter and a number: q12 (question), v12 (reasoning),"
            " a12 (answer), g12 (generation), m12 (model), d12 (dataset), t12 (training run),"
            " r12 (round).",
            value=value,
        )
    return Ref(LETTERS[match[1]], int(match[2]))
