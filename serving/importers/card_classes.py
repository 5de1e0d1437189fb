"""Names of classes in the card of a folder of `datasets`, for files that hold only numbers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.importers.dataset_cards import head_of_card


def classes_of_card(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return column → what the numbers 0, 1, … in it stand for; empty where no card says so.

    Raises:
        UsageError: The head of the card is no YAML.
    """
    info = head_of_card(folder).get("dataset_info")
    found: dict[str, tuple[str, ...]] = {}
    for config in info if isinstance(info, list) else [info]:
        features = config.get("features") if isinstance(config, dict) else None
        found |= dict(_classes(features if isinstance(features, list) else ()))
    return found


def _classes(features: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    for feature in features:
        kind = feature.get("dtype") if isinstance(feature, dict) else None
        label = kind.get("class_label") if isinstance(kind, dict) else None
        names = label.get("names") if isinstance(label, dict) else None
        if isinstance(names, Mapping):
            names = [names[key] for key in sorted(names, key=_number)]
        if isinstance(names, list):
            yield str(feature.get("name")), tuple(map(str, names))


def _number(key: Any) -> int:
    return int(key) if str(key).isdigit() else 0
