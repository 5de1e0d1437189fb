"""The columns of a matrix: the levels of the factors that vary, grouped, chosen and in order."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from db.texts.design import FACTORS, NONE, OF_REASONING, Level, LevelNames
from workbench.stats.comparisons import SAMPLING_FACTORS

NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_ORDER: Final = (*FACTORS, *SAMPLING_FACTORS)
_MOST_LEVELS: Final = 6
"""Levels of a factor that are named of a column in which several fall together."""
Condition = tuple[str, str]
"""A factor and one of its levels."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a level of each factor that the columns are made by."""

    levels: tuple[str, ...]
    """In the order of ``Design.by``; empty where all is one column."""

    @property
    def key(self) -> str:
        """Its name in addresses."""
        return "·".join(self.levels) or NONE


@dataclass(frozen=True)
class Design:
    """Which levels there are, and which columns they make.

    Columns are made by ``asked`` factors, in their order; by all that vary where none is
    asked for. Levels that do not meet ``only`` are in no column: conditions on one factor are
    alternatives.
    """

    names: LevelNames
    known: frozenset[Level]
    asked: tuple[str, ...] = ()
    only: tuple[Condition, ...] = ()
    _named: dict[Level, Mapping[str, str]] = field(default_factory=dict, compare=False)
    _columns: dict[Level, "Column | None"] = field(default_factory=dict, compare=False)

    def named(self, level: Level) -> Mapping[str, str]:
        """Return factor → name of its level."""
        if level not in self._named:
            self._named[level] = self.names.of(level)
        return self._named[level]

    @cached_property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """Return the factors that vary, in their order, each with its levels.

        A factor that says no more than another one (each of its levels goes with one of the
        other's) is left out, such as the model of reasonings where it is that of the answers.
        """
        every = [self.named(level) for level in self.known]
        names = sorted({name for one in every for name in one}, key=_place)
        found: dict[str, tuple[str, ...]] = {}
        partitions: set[tuple[int, ...]] = set()
        for name in names:
            if _repeats_own(name, every):
                continue
            values = [one.get(name, NONE) for one in every]
            order = list(dict.fromkeys(values))
            partition = tuple(order.index(value) for value in values)
            if len(order) > 1 and partition not in partitions:
                partitions.add(partition)
                found[name] = tuple(sorted(order, key=_natural))
        return found

    @cached_property
    def by(self) -> tuple[str, ...]:
        """Return the factors that make the columns."""
        asked = tuple(one for one in dict.fromkeys(self.asked) if one in self.factors)
        return asked or tuple(self.factors)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Return all columns, those of one level of the first factor side by side."""
        found = {column for level in self.known if (column := self.column_of(level)) is not None}
        orders = {name: {one: i for i, one in enumerate(self.factors[name])} for name in self.by}

        def place(column: Column) -> tuple[int, ...]:
            levels = zip(self.by, column.levels, strict=True)
            return tuple(orders[name].get(level, -1) for name, level in levels)

        return tuple(sorted(found, key=place))

    def column_of(self, level: Level) -> Column | None:
        """Return the column of a level; None where conditions leave it out."""
        if level not in self._columns:
            self._columns[level] = self._find_column(level)
        return self._columns[level]

    def _find_column(self, level: Level) -> Column | None:
        named = self.named(level)
        wanted: dict[str, set[str]] = {}
        for name, value in self.only:
            wanted.setdefault(name, set()).add(value)
        if any(named.get(name, NONE) not in values for name, values in wanted.items()):
            return None
        return Column(tuple(named.get(name, NONE) for name in self.by))

    def differences(self, before: Column, after: Column) -> list[tuple[str, str, str]]:
        """Return what two columns differ in: each factor with its levels in both.

        Also factors that make no columns, such as the temperature of two sweeps.
        """
        sides: list[dict[str, set[str]]] = []
        for column in (before, after):
            values: dict[str, set[str]] = {}
            for level in self.known:
                if self.column_of(level) == column:
                    for name, value in self.named(level).items():
                        values.setdefault(name, set()).add(value)
            sides.append(values)

        def shown(name: str) -> tuple[str, str]:
            old, new = (sorted(side.get(name, {NONE}), key=_natural) for side in sides)
            return ", ".join(old[:_MOST_LEVELS]), ", ".join(new[:_MOST_LEVELS])

        found = []
        for name in sorted(sides[0].keys() | sides[1].keys(), key=_place):
            old, new = shown(name)
            own_old, own_new = shown(name.removeprefix(OF_REASONING))
            repeats = old in (own_old, NONE) and new in (own_new, NONE)
            if old != new and not (name.startswith(OF_REASONING) and repeats):
                found.append((name, old, new))
        return found

    def find(self, key: str | None) -> int | None:
        """Return the place of the column called ``key``."""
        places = {column.key: place for place, column in enumerate(self.columns)}
        return places.get(key or "")


def _repeats_own(name: str, every: Sequence[Mapping[str, str]]) -> bool:
    """Tell whether a factor of reasonings says the same of all texts as that of answers."""
    if not name.startswith(OF_REASONING):
        return False
    own = name.removeprefix(OF_REASONING)
    return all(one.get(name) in (None, one.get(own)) for one in every)


def _place(name: str) -> tuple[int, str, str]:
    own = name.removeprefix(OF_REASONING)
    rank = _ORDER.index(own) if own in _ORDER else len(_ORDER)
    return rank, own, name


def _natural(value: str) -> tuple[int, float, str]:
    if value == NONE:
        return 0, 0.0, ""
    return (1, float(value), "") if NUMBER.fullmatch(value) else (2, 0.0, value)


def parse_conditions(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Return the conditions in ``factor=level`` texts; others say nothing."""
    parts = (text.partition("=") for text in texts)
    return tuple((name, value) for name, border, value in parts if border and name)
