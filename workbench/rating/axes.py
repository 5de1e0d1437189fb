"""The axes of a rating, built in or a user's own; the store keeps how each was worded."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.input_text import load_yaml, read_text
from db.rating.ratings import RESERVED, Scope, ensure_axis
from db.settings import settings
from db.tables import RatingAxis

BUILT_IN = Path(__file__).with_name("axes.yaml")

Worded = dict[Annotated[str, Field(pattern="^(en|ja)$")], Annotated[str, Field(max_length=80)]]


class Axis(BaseModel):
    """A scale from ``LOWEST`` to ``HIGHEST`` with a name for people and one for each end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern="^[a-z][a-z0-9_]{0,39}$")
    label: Worded = Field(min_length=1)
    low: Worded = Field(default_factory=dict)
    high: Worded = Field(default_factory=dict)

    @property
    def wording(self) -> dict[str, Any]:
        """What people read: the labels of the axis and of its ends."""
        return self.model_dump(exclude={"name"})

    def label_in(self, what: Worded, language: str) -> str:
        """Return ``what`` in ``language``, or in the first language that it has."""
        return what.get(language) or next(iter(what.values()), "")


Axes = dict[Scope, list[Axis]]
_FILE: TypeAdapter[Axes] = TypeAdapter(Axes)


def load_axes(home: Path) -> Axes:
    """Return the axes of every scope: the built-in ones, then those of ``home/axes.yaml``.

    A whole is rated on the axes of an answer where it has none of its own.

    Raises:
        UsageError: The file is not what it should be; the sentence names the place.
    """
    axes: dict[Scope, dict[str, Axis]] = {
        scope: {axis.name: axis for axis in given} for scope, given in _built_in().items()
    }
    own = home / "axes.yaml"
    if own.exists():
        for scope, given in _read(own).items():
            axes.setdefault(scope, {}).update({axis.name: axis for axis in given})
    axes.setdefault("whole", axes["answer"])
    return {scope: list(named.values()) for scope, named in axes.items()}


def known_axes(session: Session, axes: Axes) -> dict[Scope, list[str]]:
    """Return the names of all axes by scope: those of ``axes``, and what the store has ratings on.

    An axis that was taken out of a file goes on to be what its ratings say.
    """
    names = {scope: [axis.name for axis in own] for scope, own in axes.items()}
    for scope, name in session.execute(select(RatingAxis.scope, RatingAxis.name).distinct()):
        if name not in names.setdefault(cast(Scope, scope), []):
            names[cast(Scope, scope)].append(name)
    return names


def store_axes(session: Session, scope: Scope, axes: Axes | None = None) -> dict[str, int]:
    """Keep how the axes of ``scope`` are worded, for the ratings that are given under them.

    Args:
        session: Of the store.
        scope: What is rated.
        axes: The axes; None: those of the home of this process.

    Returns:
        Name of the axis → id of its wording.
    """
    given = load_axes(settings().home_dir) if axes is None else axes
    return {
        axis.name: ensure_axis(session, scope, axis.name, axis.wording)
        for axis in given.get(scope, ())
    }


@cache
def _built_in() -> Axes:
    return _read(BUILT_IN)


def _read(path: Path) -> Axes:
    try:
        axes = _FILE.validate_python(load_yaml(read_text(path), where=str(path)))
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(step) for step in wrong["loc"])
        raise UsageError(
            "{path}, {place}: {problem}.", path=path, place=place, problem=wrong["msg"]
        ) from None
    for scope, given in axes.items():
        for axis in given:
            if axis.name in RESERVED:
                raise UsageError(
                    "{path}, {scope}: {axis_name!r} is reserved; rename the axis.",
                    path=path,
                    scope=scope,
                    axis_name=axis.name,
                )
    return axes
