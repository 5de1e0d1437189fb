"""Rules of a dataset read from YAML or a form, checked as a whole; all mistakes are told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from db.errors import UsageError
from db.input_text import load_mapping, read_text
from training.datasets.rules import RULES, Rules
from training.methods import STORED_KINDS
from training.spec_files import validated


def parse_rules(mapping: Mapping[str, Any], *, where: str = "The rules") -> Rules:
    """Return the rules in ``mapping``; ``kind`` may be of ``RULES`` or say what the rows are.

    Raises:
        UsageError: They are wrong; one sentence for each mistake, all of them at once.
    """
    kind = mapping.get("kind", "sft")
    if isinstance(kind, str):
        kind = STORED_KINDS.get(kind, kind)
    if not isinstance(kind, str) or kind not in RULES:
        raise UsageError(f"{where}: kind is {kind!r}; choose one of {', '.join(RULES)}.")
    return validated(RULES[kind], {**mapping, "kind": kind}, where=where)


def parse_yaml(text: str, *, where: str = "The rules") -> Rules:
    """Return the rules in a YAML text.

    Raises:
        UsageError: It is no YAML, or its rules are wrong.
    """
    return parse_rules(load_mapping(text, where=where), where=where)


def load_rules(path: Path) -> Rules:
    """Return the rules in the YAML file at ``path``; a file that they name lies relative to it.

    Raises:
        UsageError: The file cannot be read, is no YAML, or its rules are wrong.
    """
    rules = parse_yaml(read_text(path), where=f"The rules in {path}")
    if rules.questions.file is None:
        return rules
    file = (path.parent / rules.questions.file.expanduser()).resolve()
    return rules.model_copy(update={"questions": rules.questions.model_copy(update={"file": file})})


def as_yaml(rules: Rules) -> str:
    """Return rules as the YAML that a person would write: what is at its default is left out."""
    told = {"name": rules.name, "kind": rules.kind}
    rest = rules.model_dump(mode="json", exclude_defaults=True, exclude={"name", "kind"})
    return yaml.safe_dump(told | rest, allow_unicode=True, sort_keys=False)
