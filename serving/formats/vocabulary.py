"""Surgery on ``tokenizer.json``: which tokens control a model, and a tokenizer that lacks them.

Switching special tokens off while encoding is not enough: a control token that its file does not
call special (``</s>`` of Phi-3) is still recognised in text. A vocabulary without it cannot be
made to yield it.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

Json = dict[str, Any]
MARKUP = frozenset("<>[]{}|\uff5c")


def control_tokens(data: Json, named: Mapping[str, int]) -> dict[str, int]:
    """Return content and id of every control token.

    That is every added token that is special or looks like markup (``</s>`` of Phi-3 is not called
    special), and the tokens that the configuration names, such as the end of text. Words and runs
    of white space that were added to a vocabulary are ordinary.
    """
    added = {
        token["content"]: int(token["id"])
        for token in data.get("added_tokens", [])
        if token["special"] or not MARKUP.isdisjoint(token["content"])
    }
    return added | dict(named)


def ordinary_tokenizer(data: Json, control: Mapping[str, int], *, prefix: bool) -> Tokenizer:
    """Return a tokenizer of ordinary text: no text can yield the ids of ``control``.

    Args:
        data: The content of ``tokenizer.json``; it is not changed.
        control: Content and id of the tokens to leave out.
        prefix: Whether the space that some tokenizers put before a text is kept.

    Raises:
        ValueError: The kind of vocabulary is not supported.
    """
    kept = [token for token in data.get("added_tokens", []) if token["content"] not in control]
    pruned = data | {
        "added_tokens": kept,
        "post_processor": None,
        "truncation": None,
        "padding": None,
        "model": _without_tokens(data["model"], control, kept),
    }
    if not prefix:
        pruned |= {part: _without_prefix(data.get(part)) for part in PARTS}
    return Tokenizer.from_str(json.dumps(pruned))


def adds_prefix(data: Json) -> bool:
    """Return whether the tokenizer puts a space before a text."""
    return any(_without_prefix(data.get(part)) != data.get(part) for part in PARTS[:2])


PARTS = ("normalizer", "pre_tokenizer", "decoder")


def _without_tokens(model: Json, control: Mapping[str, int], kept: list[Json]) -> Json:
    gone_ids = set(control.values())
    if model["type"] == "Unigram":
        # Ids are places in the list, so an entry is made unwritable instead of taken out.
        pieces = [
            [secrets.token_hex(16), score] if index in gone_ids else [piece, score]
            for index, (piece, score) in enumerate(model["vocab"])
        ]
        return model | {"vocab": pieces}
    if model["type"] != "BPE":
        raise ValueError(f"its vocabulary is of the kind {model['type']}, not BPE or Unigram")
    gone = set(control) | {piece for piece, index in model["vocab"].items() if index in gone_ids}
    vocabulary = {piece: index for piece, index in model["vocab"].items() if piece not in gone}
    vocabulary |= {token["content"]: token["id"] for token in kept}
    merges = [merge for merge in model["merges"] if gone.isdisjoint(_merge_pieces(merge))]
    unknown = model.get("unk_token")
    return model | {
        "vocab": vocabulary,
        "merges": merges,
        "unk_token": None if unknown in gone else unknown,
    }


def _merge_pieces(merge: str | list[str]) -> tuple[str, str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right, left + right


def _without_prefix(part: Json | None) -> Json | None:
    """Return a normalizer, pre-tokenizer or decoder that neither adds nor strips a first space."""
    if part is None:
        return None
    for members in ("normalizers", "pretokenizers", "decoders"):
        if members in part:
            changed = [_without_prefix(member) for member in part[members]]
            return part | {members: [member for member in changed if member is not None]}
    match part["type"]:
        case "Prepend":
            return None
        case "Metaspace":
            return part | {"prepend_scheme": "never"}
        case "ByteLevel":
            return part | {"add_prefix_space": False}
        case "Strip" if "content" in part:
            return part | {"start": 0}
    return part
