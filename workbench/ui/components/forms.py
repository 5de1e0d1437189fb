"""Forms made from specs: the type of a field says which widget it has and what fits into it.

What a type cannot say, such as the entries of a list, stands in a table of hints, and the texts in
the catalogue: the label of ``questions.limit`` in a form with the texts ``spec`` is
``spec.questions.limit``; beside it may stand ``…_help``, and ``…_any``, which is shown while the
field is empty and says what then counts. What is entered is kept as a draft.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import streamlit as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from workbench.i18n import has
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t, word

Spec = dict[str, Any]
LARGEST: Final = 2**53 - 1
"""The largest whole number of a browser."""
EMPTY: Final[tuple[Any, ...]] = (None, "", [], {}, ())
COMMAS: Final = re.compile("[,、，]")
RANGE: Final = re.compile(r"\s*[-‐–—〜~]\s*")
"""Between the ends of a range of numbers, however it was typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What the type of a field does not say."""

    widget: Literal["area", "select", "segments", "pills", "slider", "toggle", "search"] | None = (
        None
    )
    """Instead of the usual one of its type."""
    options: Sequence[Any] | None = None
    """What can be chosen; None: what the type names."""
    show: str | Callable[[Any], str] | None = None
    """How a choice reads: a prefix of the catalogue's keys, or a function; None: as it is."""
    label: str | None = None
    """Instead of the catalogue's."""
    text: str | None = None
    """Key of the label and what stands beside it, where it is not that of the path."""
    help: str | None = None
    """Instead of the catalogue's."""
    start: Any = None
    """What the field begins with, where that is not the default of the spec."""
    limits: tuple[float | None, float | None] = (None, None)
    """Of a number, or of how long a text may be, where those of the spec do not say it."""
    step: float | None = None
    format: str | None = None
    """How a number reads, such as ``%g``; None: as is usual for its type and step."""
    height: int | None = None
    example: str | None = None
    """Shown while the field is empty."""


NO_HINT: Final = Hint()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """What a spec says of one of its fields."""

    annotation: Any
    """Without None."""
    default: Any
    metadata: tuple[Any, ...]
    adapter: TypeAdapter[Any]
    """Tells whether a widget can hold a value, whatever the rest of the spec says of it."""

    @property
    def kind(self) -> type:
        """The class of its values; tuples are lists."""
        origin = get_origin(self.annotation)
        if origin is Literal:
            return type(get_args(self.annotation)[0])
        found: type = origin or self.annotation
        return list if found is tuple else found

    @property
    def entry(self) -> Any:
        """The type of a list's entries, else that of the field."""
        return _unwrapped(get_args(self.annotation)[0]) if self.kind is list else self.annotation

    def limit(self, *names: str) -> Any:
        """Return the first limit of these names, such as ``ge``; None where there is none."""
        found = (getattr(one, name, None) for name in names for one in self.metadata)
        return next((one for one in found if one is not None), None)

    def holds(self, value: object) -> bool:
        """Tell whether a widget can show ``value``."""
        if value in EMPTY:
            return True
        try:
            self.adapter.validate_python(value)
        except ValidationError:
            return False
        return True


@cache
def field_type(spec: type, path: str) -> FieldType:
    """Return what ``spec``, a pydantic model or a dataclass, says of the field at ``path``."""
    name, _, rest = path.partition(".")
    annotation, default, metadata = _field(spec, name)
    inner = _unwrapped(annotation)
    if rest and get_origin(inner) is dict:
        inner, default = get_args(inner)[1], None
    elif rest:
        return field_type(inner, rest)
    shown = tuple(one for one in metadata if not hasattr(one, "pattern"))
    held: Any = Annotated[annotation, *shown] if shown and not rest else inner
    return FieldType(
        annotation=inner,
        default=list(default) if isinstance(default, tuple) else default,
        metadata=metadata,
        adapter=TypeAdapter(held),
    )


def _field(spec: Any, name: str) -> tuple[Any, Any, tuple[Any, ...]]:
    if not issubclass(spec, BaseModel):
        (own,) = (one for one in dataclasses.fields(spec) if one.name == name)
        default = None if own.default is dataclasses.MISSING else own.default
        return get_type_hints(spec)[name], default, ()
    info = next(one for own, one in spec.model_fields.items() if name in (own, one.alias))
    default = None if info.is_required() else info.default
    return info.annotation, default, tuple(info.metadata)


def _unwrapped(annotation: Any) -> Any:
    """Return an annotation without None and without what is said of it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(one for one in get_args(annotation) if one is not NoneType)
        else:
            return annotation


class SpecForm:
    """The fields of one spec as they are drawn; ``spec`` is what they hold.

    What ``base`` says and no field shows stays as it is.
    """

    def __init__(
        self,
        draft: FormDraft,
        spec: type,
        base: Mapping[str, Any],
        texts: str,
        hints: Mapping[str, Hint],
        prefix: str = "",
    ) -> None:
        """Begin a form.

        Args:
            draft: Keeps what is entered.
            spec: The pydantic model or dataclass of the spec.
            base: What the fields begin with.
            texts: Prefix of the keys of the labels.
            hints: What the types of the fields do not say, by path.
            prefix: Of the fields' names in the draft.
        """
        self.draft, self.type, self.base, self.texts = draft, spec, base, texts
        self.hints, self.prefix = hints, prefix
        self.spec: Spec = deepcopy(dict(base))

    def draw(self, *paths: str, name: str | None = None) -> Any:
        """Draw the fields at ``paths`` in order; return the value of the last one.

        Args:
            paths: Where the fields stand in the spec.
            name: Of a single one in the draft, where it is another than the path says.

        Raises:
            ValueError: What the form begins with does not fit into one of them.
        """
        value = None
        for path in paths:
            value = self._draw(path, name or self.prefix + path.replace(".", "_"))
            self.put(path, None if self._says_nothing(path, value) else value)
        return value

    def columns(self, *columns: Sequence[str], **given: Any) -> None:
        """Draw fields side by side: the paths of each column."""
        for column, paths in zip(st.columns(len(columns), **given), columns, strict=True):
            with column:
                self.draw(*paths)

    def put(self, path: str, value: Any) -> None:
        """Set what the spec says at ``path``; None leaves it out."""
        *groups, last = path.split(".")
        group = self.spec
        for name in groups:
            if not isinstance(group.get(name), dict):
                group[name] = {}
            group = group[name]
        group[last] = value
        if value is None:
            del group[last]
        if groups and not group:
            self.put(".".join(groups), None)

    def _says_nothing(self, path: str, value: Any) -> bool:
        default = field_type(self.type, path).default
        if value == [] and default and self.hint(path).widget != "pills":
            return has(f"{self._text(path)}_any")
        return value in EMPTY or (isinstance(value, bool) and value == default)

    def _text(self, path: str) -> str:
        return self.hint(path).text or f"{self.texts}.{path}"

    def hint(self, path: str) -> Hint:
        """Return the hint of a field."""
        return self.hints.get(path, NO_HINT)

    def _draw(self, path: str, name: str) -> Any:
        field, hint, text = field_type(self.type, path), self.hint(path), self._text(path)
        begins = value_at(self.base, path)
        if not field.holds(begins):
            raise ValueError(path)
        if begins is None:
            begins = field.default if hint.start is None else hint.start
        help_text = hint.help or (t(f"{text}_help") if has(f"{text}_help") else None)
        given: Spec = {"label": hint.label or t(text), "help": help_text}
        empty = hint.example or (t(f"{text}_any") if has(f"{text}_any") else None)
        options = get_args(field.entry) if get_origin(field.entry) is Literal else ()
        options = options if hint.options is None else tuple(hint.options)
        if field.kind is bool and hint.options is None:
            draw = st.toggle if hint.widget == "toggle" else st.checkbox
            return draw(key=self.draft.field(name, bool(begins)), **given)
        if field.kind is list and hint.options is None and not options:
            text_begins = begins if isinstance(begins, str) else ", ".join(map(str, begins or ()))
            key = self.draft.field(name, text_begins)
            return entries(st.text_input(key=key, placeholder=empty, **given), field.entry)
        if options or hint.options is not None:
            return self._draw_choice(name, field, begins, options, empty, given, hint)
        if field.kind in (int, float):
            return self._draw_number(name, field, begins, empty, given, hint)
        key = self.draft.field(name, begins or "")
        if hint.widget == "area":
            return st.text_area(key=key, height=hint.height, placeholder=empty, **given) or ""
        if hint.widget == "search":
            given |= {"type": "search", "icon": ":material/search:"}
        most = int(hint.limits[1] or 0) or field.limit("max_length")
        return st.text_input(key=key, max_chars=most, placeholder=empty, **given) or ""

    def _draw_choice(
        self,
        name: str,
        field: FieldType,
        begins: Any,
        options: tuple[Any, ...],
        empty: str | None,
        given: Spec,
        hint: Hint,
    ) -> Any:
        given["format_func"] = _shown(hint.show)
        if field.kind is list:
            begins = list(begins or ())
            options = tuple(dict.fromkeys([*options, *begins]))
            key = self.draft.field(name, begins, options)
            if hint.widget == "pills":
                return list(st.pills(key=key, options=options, selection_mode="multi", **given))
            return st.multiselect(key=key, options=options, placeholder=empty, **given)
        if begins not in options:
            begins = None if empty or not options else options[0]
        key = self.draft.field(name, begins, options)
        if hint.widget == "segments":
            return st.segmented_control(key=key, options=options, required=True, **given)
        return st.selectbox(key=key, options=options, placeholder=empty or "", **given)

    def _draw_number(
        self,
        name: str,
        field: FieldType,
        begins: Any,
        empty: str | None,
        given: Spec,
        hint: Hint,
    ) -> Any:
        low, high = hint.limits
        low = field.limit("ge", "gt") if low is None else low
        high = field.limit("le", "lt") if high is None else high
        kind = field.kind
        if begins is not None:
            begins = kind(begins)
        low, high = (None if end is None else kind(min(end, LARGEST)) for end in (low, high))
        key = self.draft.field(name, begins)
        entered = st.session_state[key]
        if entered is not None and _clamped(entered, low, high) != entered:
            st.session_state[key] = begins  # typed in an earlier visit, before the field was left
        given |= {"min_value": low, "max_value": high, "key": key}
        if hint.step is not None:
            given["step"] = kind(hint.step)
            if kind is float and float(hint.step).is_integer():
                given["format"] = "%.0f"
        if hint.format is not None:
            given["format"] = hint.format
        if hint.widget == "slider":
            return st.slider(**given)
        if begins is None:
            given["value"] = None
        value: Any = st.number_input(placeholder=empty, **given)
        return None if value is None else kind(value)


def _clamped(value: float, low: float | None, high: float | None) -> float:
    value = value if low is None else max(low, value)
    return value if high is None else min(high, value)


def value_at(spec: Mapping[str, Any], path: str) -> Any:
    """Return what ``spec`` says at ``path``; None where it says nothing."""
    found: Any = spec
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def entries(text: str | None, entry: Any) -> list[Any]:
    """Return what was typed as a list, separated by commas of any script; numbers by spaces too."""
    parts = COMMAS.sub(",", text or "").split(",")
    if entry is int:
        plain = (RANGE.sub("-", unicodedata.normalize("NFKC", part)) for part in parts)
        parts = [number for part in plain for number in part.split()]
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _shown(show: str | Callable[[Any], str] | None) -> Callable[[Any], str]:
    if isinstance(show, str):
        return lambda value: word(show, value)
    return show or str
