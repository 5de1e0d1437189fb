"""Where a visitor is lives in the URL: filters, pages of lists, the item that is open.

The URL is the truth. Widgets are filled from it and write back to it as codes that do not change
with the language, so that reload, back and a shared link come to the same place.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from workbench.i18n import has
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import count
from workbench.ui.components.text import one_line

MAX_IDS: Final = 100_000
"""Things that one address names."""


def parameter(name: str) -> str | None:
    """Return the value of ``name`` in the URL; None where absent or empty."""
    return st.query_params.get(name) or None


def number(name: str) -> int | None:
    """Return ``name`` as a whole number; None where it is none."""
    value = parameter(name)
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 16 else None


def values(name: str) -> list[str]:
    """Return all values of ``name``."""
    return [value for value in st.query_params.get_all(name) if value]


def put(name: str, value: str | Sequence[str] | None) -> None:
    """Write ``name`` into the URL; None or empty removes it."""
    if value:
        st.query_params[name] = value if isinstance(value, str) else list(value)
    elif name in st.query_params:
        del st.query_params[name]


def id_ranges(ids: Iterable[int]) -> str:
    """Return ids as an address names them: ``3-9,12``."""
    parts: list[list[int]] = []
    for one in sorted(set(ids)):
        if parts and one == parts[-1][1] + 1:
            parts[-1][1] = one
        else:
            parts.append([one, one])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def ids(name: str) -> tuple[int, ...]:
    """Return the ids that ``name`` in the URL says as `id_ranges` does; what is none is left out.

    At most ``MAX_IDS``: an address may be anybody's.
    """
    found: list[int] = []
    for first, last in re.findall(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", parameter(name) or ""):
        room = MAX_IDS - len(found)
        found += range(int(first), min(int(last or first) + 1, int(first) + room))
    return tuple(dict.fromkeys(found))


def change(values: Mapping[str, str | Sequence[str] | None]) -> None:
    """Write several values into the URL in one step, so that one *Back* undoes them together."""
    now = {name: st.query_params.get_all(name) for name in st.query_params}
    new = dict(now)
    for name, value in values.items():
        new.pop(name, None)
        if value:
            new[name] = [value] if isinstance(value, str) else list(value)
    if new != now:
        st.query_params.from_dict(new)


def clear(*names: str) -> None:
    """Remove ``names`` from the URL."""
    change(dict.fromkeys(names))


def _write_back(name: str, resets: Sequence[str]) -> None:
    value: Any = st.session_state[_key(name)]
    chosen = [str(v) for v in value] if isinstance(value, list) else str(value or "")
    change({**dict.fromkeys(resets), name: chosen})


def _write_page(name: str, own: str) -> None:
    put(name, str(st.session_state[_key(own)]))


def _key(name: str) -> str:
    return f"url_{name}"


def choose(
    name: str,
    label: str,
    options: Sequence[str],
    show: Callable[[str], str],
    *,
    any_label: str,
    resets: Sequence[str] = (),
    help: str | None = None,
) -> str | None:
    """Draw a select box whose choice is ``?name=``; empty stands for any."""
    current = parameter(name)
    st.session_state[_key(name)] = current if current in options else None
    chosen: str | None = st.selectbox(
        label,
        options,
        None,
        format_func=show,
        placeholder=any_label,
        key=_key(name),
        on_change=_write_back,
        args=(name, resets),
        help=help,
    )
    return chosen


def choose_several(
    name: str,
    label: str,
    options: Sequence[str],
    show: Callable[[str], str],
    *,
    any_label: str,
    resets: Sequence[str] = (),
    help: str | None = None,
) -> list[str]:
    """Draw a choice of several, in the order of choosing: ``?name=`` once for each."""
    st.session_state[_key(name)] = [one for one in values(name) if one in options]
    chosen: list[str] = st.multiselect(
        label,
        options,
        format_func=show,
        placeholder=any_label,
        key=_key(name),
        on_change=_write_back,
        args=(name, resets),
        help=help,
    )
    return chosen


def filter_by(
    name: str,
    texts: str,
    values: Mapping[str, int | None] | Sequence[str],
    show: str | Callable[[str], str] | None = None,
) -> tuple[str, ...]:
    """Draw a filter of a list; return the value that is chosen, if any.

    Args:
        name: Of the filter in the URL; a choice leads back to the first page.
        texts: Prefix of its label, which may have ``…_help`` beside it.
        values: What can be chosen, each with its count where that is known.
        show: How a value reads: a prefix of the catalogue's keys, or a function; None: as it is.
    """
    counts = values if isinstance(values, Mapping) else dict.fromkeys(values)

    def shown(value: str) -> str:
        text = word(show, value) if isinstance(show, str) else show(value) if show else value
        n = counts[value]
        return one_line(text, 40) if n is None else f"{one_line(text, 40)} ({count(n)})"

    label = f"{texts}.{name}"
    chosen = choose(
        name,
        t(label),
        tuple(counts),
        shown,
        any_label=t("any"),
        resets=("page",),
        help=t(f"{label}_help") if has(f"{label}_help") else None,
    )
    return (chosen,) if chosen else ()


def segments(name: str, label: str, options: Sequence[str], show: Callable[[str], str]) -> str:
    """Draw a switch between a few views; the first one is the default and not in the URL."""
    current = parameter(name)
    st.session_state[_key(name)] = current if current in options else options[0]
    chosen = st.segmented_control(
        label,
        options,
        format_func=show,
        key=_key(name),
        required=True,
        on_change=_write_back,
        args=(name, ()),
        label_visibility="collapsed",
    )
    return chosen or options[0]


def search_box(name: str, label: str, placeholder: str, *, resets: Sequence[str] = ()) -> str:
    """Draw a search field whose text is ``?name=``."""
    st.session_state[_key(name)] = parameter(name) or ""
    text: str | None = st.text_input(
        label,
        key=_key(name),
        type="search",
        icon=":material/search:",
        placeholder=placeholder,
        on_change=_write_back,
        args=(name, resets),
        max_chars=200,
        label_visibility="collapsed",
    )
    return (text or "").strip()


def pages(name: str, total: int, page_size: int) -> int:
    """Draw page numbers for ``total`` rows; return the page that is shown, from 1."""
    n_pages = max(1, -(-total // page_size))
    current = min(max(1, number(name) or 1), n_pages)
    if n_pages == 1:
        return 1
    # A key for each page: a widget of one key would keep its first default.
    own = f"{name}_{current}"
    return st.pagination(
        n_pages, default=current, key=_key(own), on_change=_write_page, args=(name, own)
    )


def page_of(name: str, total: int, page_size: int) -> int:
    """Return the page in the URL, kept within the pages that exist."""
    return min(max(1, number(name) or 1), max(1, -(-total // page_size)))
