"""A model's tokenizer with fixed segment borders, for prompts of templates and people's texts.

Only the ``tokenizers`` package is used. A segment's ids depend on its own text and on whether it
starts afresh (nothing or a control token before it), never on the words before it. Switching
special tokens off while encoding is not enough: a control token that its file does not call special
(``</s>`` of Phi-3) is still recognised in text. A vocabulary without it cannot be made to yield it.
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from tokenizers import Tokenizer

from db.errors import UsageError
from db.identity import short_hash
from db.messages import Message
from serving.formats.chat_template import ChatTemplate
from serving.formats.definitions import PromptError
from serving.formats.sanitise import structure_pattern

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
    ordinary = [token for token in data.get("added_tokens", []) if token["content"] not in control]
    pruned = data | {
        "added_tokens": ordinary,
        "post_processor": None,
        "truncation": None,
        "padding": None,
        "model": _without_tokens(data["model"], control, ordinary),
    }
    if not prefix:
        pruned |= {part: _without_prefix(data.get(part)) for part in PARTS}
    return Tokenizer.from_str(json.dumps(pruned))


def adds_prefix(data: Json) -> bool:
    """Return whether the tokenizer puts a space before a text."""
    return any(_without_prefix(data.get(part)) != data.get(part) for part in PARTS[:2])


PARTS = ("normalizer", "pre_tokenizer", "decoder")


def _without_tokens(model: Json, control: Mapping[str, int], ordinary: list[Json]) -> Json:
    gone_ids = set(control.values())
    if model["type"] == "Unigram":
        # Ids are places in the list, so an entry is made unwritable instead of taken out.
        pieces = [
            [secrets.token_hex(16), score] if index in gone_ids else [piece, score]
            for index, (piece, score) in enumerate(model["vocab"])
        ]
        return model | {"vocab": pieces}
    if model["type"] != "BPE":
        kind = model["type"]
        raise ValueError(
            Message("its vocabulary is of the kind {kind}, not BPE or Unigram", kind=kind)
        )
    gone = set(control) | {piece for piece, index in model["vocab"].items() if index in gone_ids}
    vocabulary = {piece: index for piece, index in model["vocab"].items() if piece not in gone}
    vocabulary |= {token["content"]: token["id"] for token in ordinary}
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


REMEMBERED_TEXTS = 2048
REMEMBERED_CHARS = 4000
TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")


class Reading(NamedTuple):
    """An untrusted text as a model reads it."""

    token_ids: tuple[int, ...]
    text: str
    """What the ids stand for; another text than was given where the tokenizer changes it."""


class PromptTokenizer:
    """Turns segments of a prompt into token ids and back."""

    def __init__(
        self, tokenizer_json: bytes, config: dict[str, Any], chat_source: str | None = None
    ) -> None:
        """Read a tokenizer from the content of its files.

        Raises:
            ValueError: The tokenizer is broken or of a kind that is not supported.
        """
        data = json.loads(tokenizer_json)
        self._full = Tokenizer.from_str(tokenizer_json.decode("utf-8"))
        self._full.no_truncation()
        self._full.no_padding()
        names = {name: content for name in TOKEN_NAMES if (content := _content(config.get(name)))}
        self.bos_token = names.get("bos_token")
        self.bos_token_id = self._id_of(self.bos_token)
        self.eos_token_id = self._id_of(names.get("eos_token"))
        self.chat_template = (
            ChatTemplate(chat_source, tuple(names.items())) if chat_source else None
        )
        self.control_tokens = control_tokens(data, self._ends(names))
        self.control_ids = frozenset(self.control_tokens.values())
        self.content_hash = short_hash(
            tokenizer_json, json.dumps(names, sort_keys=True), chat_source or ""
        )
        self._joined = ordinary_tokenizer(data, self.control_tokens, prefix=False)
        self._fresh = self._joined
        if adds_prefix(data):
            self._fresh = ordinary_tokenizer(data, self.control_tokens, prefix=True)
        self._control = structure_pattern(self.control_tokens)
        self._control_text = {index: text for text, index in self.control_tokens.items()}
        self.restarts_after_control = self._finds_restart()
        self.adds_bos = self._finds_bos(config)
        self._readings: dict[tuple[str, bool], Reading] = {}
        self._structure = lru_cache(maxsize=64)(self._make_structure)
        self._trusted_ids = lru_cache(maxsize=1024)(self._encode_trusted)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the tokenizer of the model in ``folder``.

        Raises:
            UsageError: A file is missing or broken; the sentence names it and the remedy.
        """
        path = folder / "tokenizer.json"
        try:
            tokenizer_json = path.read_bytes()
        except OSError as error:
            raise UsageError(
                "{path}: cannot be read ({error}); a model folder needs a tokenizer.json "
                "as saved by AutoTokenizer.from_pretrained(…).save_pretrained(…).",
                path=path,
                error=error.strerror,
            ) from error
        config = _read_json(folder / "tokenizer_config.json")
        try:
            return cls(tokenizer_json, config, _chat_source(folder, config))
        except Exception as error:  # the tokenizers package raises no class of its own
            raise UsageError(
                "{path}: is no tokenizer that can be used: {error}.", path=path, error=error
            ) from error

    def encode_trusted(self, text: str, *, first: bool) -> tuple[int, ...]:
        """Return the ids of template text; control tokens written in it are recognised.

        Args:
            text: Text of a template, never of a person.
            first: Whether it starts afresh.
        """
        return self._trusted_ids(text, first)

    def _encode_trusted(self, text: str, first: bool) -> tuple[int, ...]:
        if first or self._fresh is self._joined:
            return tuple(self._full.encode(text, add_special_tokens=False).ids)
        found = self._control.search(text)
        if found is None:
            return tuple(self._joined.encode(text).ids)
        head, tail = text[: found.start()], text[found.start() :]
        ids = self._full.encode(tail, add_special_tokens=False).ids
        return (*self._joined.encode(head).ids, *ids)

    def encode_untrusted(self, text: str, *, first: bool = False) -> list[int]:
        """Return the ids of a text from a person or a model; never a control token's.

        Args:
            text: Any text.
            first: Whether it starts afresh.
        """
        return self.encode_untrusted_batch([text], first=first)[0]

    def encode_untrusted_batch(
        self, texts: Sequence[str], *, first: bool = False
    ) -> list[list[int]]:
        """Return the ids of each of ``texts``, each as ``encode_untrusted`` does it alone."""
        tokenizer = self._fresh if first else self._joined
        encoded = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        for ids in encoded:
            if not self.control_ids.isdisjoint(ids):
                raise PromptError(
                    "This text became a control token: the model's tokenizer cannot be used."
                )
        return encoded

    def starts_afresh_after(self, last: int | None) -> bool:
        """Return whether a segment after the token ``last`` is encoded as the start of a text.

        So it is at the start of a prompt and, where the tokenizer itself does so, after every
        control token: then the ids of a plain conversation are those that the model was taught.
        """
        if last is None or last == self.bos_token_id:
            return True
        return self.restarts_after_control and last in self.control_ids

    @cached_property
    def turn_end_id(self) -> int | None:
        """The token that ends the model's turn in its chat template; else the end of a text."""
        if self.chat_template is not None:
            found = self._control.search(self.chat_template.after_answer())
            if found is not None:
                return self.control_tokens[found.group()]
        return self.eos_token_id

    def structure(self, tags: tuple[str, ...]) -> re.Pattern[str]:
        """Return what finds ``tags`` and this model's control tokens in a text."""
        return self._structure(tags)

    def _make_structure(self, tags: tuple[str, ...]) -> re.Pattern[str]:
        # A single character cannot be broken up; its id cannot come from a text in any case.
        return structure_pattern([*tags, *(c for c in self.control_tokens if len(c) > 1)])

    def decode(self, ids: Sequence[int], *, first: bool = True) -> str:
        """Return the text of ``ids``, control tokens included.

        Args:
            ids: Token ids.
            first: Whether they start afresh; their first space is then the tokenizer's own.
        """
        parts: list[str] = []
        run: list[int] = []
        afresh = first
        for index in ids:
            if index in self.control_ids:
                parts += [self._decode_run(run, afresh), self._control_text[index]]
                afresh = self.starts_afresh_after(index)
                run = []
            else:
                run.append(index)
        parts.append(self._decode_run(run, afresh))
        return "".join(parts)

    def read(self, texts: Sequence[str], *, first: bool) -> list[Reading]:
        """Encode untrusted ``texts`` and tell what a model that reads their ids will see."""
        known = self._readings
        fresh = [text for text in dict.fromkeys(texts) if (text, first) not in known]
        found: dict[str, Reading] = {}
        if fresh:
            encoded = self.encode_untrusted_batch(fresh, first=first)
            decoded = self._joined.decode_batch(encoded, skip_special_tokens=False)
            for text, ids, seen in zip(fresh, encoded, decoded, strict=True):
                found[text] = Reading(tuple(ids), self._own_text(seen, first))
        readings = [found.get(text) or known[text, first] for text in texts]
        self._remember(found, first)
        return readings

    def _remember(self, readings: dict[str, Reading], first: bool) -> None:
        """Keep short texts: the prompts of a sweep share their system texts and questions."""
        if len(self._readings) + len(readings) > REMEMBERED_TEXTS:
            self._readings = {}
        for text, reading in list(readings.items())[:REMEMBERED_TEXTS]:
            if len(text) <= REMEMBERED_CHARS:
                self._readings[text, first] = reading

    def _decode_run(self, ids: list[int], first: bool) -> str:
        if not ids:
            return ""
        return self._own_text(self._joined.decode(ids, skip_special_tokens=False), first)

    def _own_text(self, text: str, first: bool) -> str:
        return text.removeprefix(" ") if first and self._fresh is not self._joined else text

    def _id_of(self, content: str | None) -> int | None:
        return None if content is None else self._full.token_to_id(content)

    def _ends(self, names: dict[str, str]) -> dict[str, int]:
        ends = {name: names[name] for name in ("bos_token", "eos_token") if name in names}
        return {
            content: index
            for content in ends.values()
            if (index := self._id_of(content)) is not None
        }

    def _finds_restart(self) -> bool:
        """Try whether this tokenizer treats text after a control token as a new text."""
        if self._fresh is self._joined or not self.control_tokens:
            return False
        control = next(iter(self.control_tokens))
        ids = self._full.encode(f"{control}a", add_special_tokens=False).ids
        return ids[1:] == self._fresh.encode("a").ids

    def _finds_bos(self, config: dict[str, Any]) -> bool:
        """Tell whether the tokenizer puts BOS before a text by itself."""
        if self.bos_token_id is None:
            return False
        stated = config.get("add_bos_token")
        return (
            bool(stated) if stated is not None else self.bos_token_id in self._full.encode("").ids
        )


def _content(token: object) -> str | None:
    """Return the text of a token of the configuration, which may be an object around it."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) and content else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            "{path}: cannot be read ({error}); a model folder needs this file to know "
            "where a text starts and ends.",
            path=path,
            error=error.strerror,
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError("{path}: is not valid JSON ({error}).", path=path, error=error) from error
    if not isinstance(data, dict):
        raise UsageError("{path}: must hold a JSON object.", path=path)
    return data


def _chat_source(folder: Path, config: dict[str, Any]) -> str | None:
    """Return the chat template: its own file, or the configuration's, or none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    source = config.get("chat_template")
    if isinstance(source, list):
        named = {entry["name"]: entry["template"] for entry in source}
        source = named.get("default")
    return source if isinstance(source, str) else None
