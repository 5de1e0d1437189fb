"""The card of an exported dataset: what it holds, by which rules, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from db.datasets import DatasetInfo, Split

_KINDS = {
    "sft": "Examples to imitate (supervised fine-tuning).",
    "dpo": "Pairs of a better and a worse text (DPO).",
    "kto": "Single texts, each OK or not OK (KTO).",
}


def card(dataset: DatasetInfo, files: Mapping[Split, str], prompt_format: str) -> str:
    """Return the README of a dataset folder, as Hugging Face reads it.

    Args:
        dataset: The frozen dataset.
        files: Split → path of its file in the folder.
        prompt_format: Full name of the format that the texts are written in.
    """
    counts = dataset.counts
    head = {
        "pretty_name": dataset.name,
        "language": [name for name in counts["languages"] if name != "?"],
        "tags": ["q2q", dataset.kind],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": path} for split, path in files.items()],
            }
        ],
    }
    rules = yaml.safe_dump(dataset.rules, allow_unicode=True, sort_keys=False).strip()
    return "\n".join(
        [
            "---",
            yaml.safe_dump(head, allow_unicode=True, sort_keys=False).strip(),
            "---",
            "",
            f"# {dataset.name}",
            "",
            f"{_KINDS[dataset.kind]} Chosen by written rules in Q2Q Workbench and frozen on "
            f"{dataset.frozen_at:%Y-%m-%d}; content hash `{dataset.content_hash}`.",
            "",
            f"- rows to train on: {dataset.n_train}; held out: {dataset.n_held_out}. Held-out "
            "questions, their descendants and near-duplicates train in no round.",
            f"- questions: {counts['questions']}; ratings behind the rows: {counts['ratings']}",
            f"- texts are written in the prompt format `{prompt_format}`",
            "",
            *_table("What is learned", counts["targets"]),
            *_table("Roles", counts["roles"]),
            *_table("Languages", counts["languages"]),
            *_table("Taken, by rule", counts["taken"]),
            *_table("Not taken, and why", counts["not_taken"]),
            *_table("Dropped, and why", counts["dropped"]),
            "## Rules",
            "",
            "```yaml",
            rules,
            "```",
            "",
        ]
    )


def _table(title: str, figures: Mapping[str, Any]) -> Sequence[str]:
    if not figures:
        return ()
    rows = [f"| {name.replace('_', ' ')} | {n} |" for name, n in figures.items()]
    return (f"## {title}", "", "| | rows |", "|---|---|", *rows, "")
