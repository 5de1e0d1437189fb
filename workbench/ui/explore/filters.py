"""The filters of Explore, each value with its count; the URL holds what is chosen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import streamlit as st

from db.questions import QuestionFacets, question_facets
from db.rating.summaries import Liking
from db.texts.facets import TextFacets, facets_at_once
from db.texts.matrix import MatrixFilter
from db.texts.rows import TABLES
from serving.checks import CHECKS
from workbench.ui.components import url
from workbench.ui.components.i18n import t, word
from workbench.ui.components.numbers import count
from workbench.ui.components.store import database
from workbench.ui.components.text import one_line

FILTERS = (
    "find", "sweep", "model", "role", "format", "language", "tag", "rating", "check", "finish",
    "of",
)  # fmt: skip
NO_FINDING = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What there is to filter by."""

    questions: QuestionFacets
    texts: TextFacets


def read_facets() -> Facets:
    """Return what there is to filter by; numbers that take long to count come with a later look."""
    with database().read() as session:
        return Facets(questions=question_facets(session), texts=facets_at_once(session))


def draw_filters(facets: Facets) -> MatrixFilter:
    """Draw the filters; return what is chosen."""
    texts = facets.texts
    search = url.search_box(
        "find", t("questions.search"), t("explore.search_hint"), resets=("page",)
    )
    with st.container(horizontal=True, key="filters"):
        sweep = _choose(
            "sweep", {str(i): n for i, (_, n) in texts.sweeps.items()}, _named(texts.sweeps)
        )
        model = _choose(
            "model", {str(i): n for i, (_, n) in texts.models.items()}, _named(texts.models)
        )
        role = _choose("role", texts.roles, _word("role"))
        form = _choose("format", texts.formats)
        language = _choose("language", facets.questions.languages, _word("language"))
        tag = _choose("tag", facets.questions.tags)
        rating = _choose("rating", dict.fromkeys(get_args(Liking)), _word("explore.liking"))
        checks = _checks(texts)
        check = _choose("check", {NO_FINDING: None, **checks}, _word("check"))
        finish = _choose("finish", texts.finish_reasons, _word("finish"))
        kind = _choose("of", dict.fromkeys(TABLES), _word("table.kind"))
    return MatrixFilter(
        search=search,
        tags=_one(tag),
        languages=_one(language),
        kind="variant" if kind == "variant" else "answer" if kind == "answer" else None,
        sweep_id=int(sweep) if sweep else None,
        model_version_ids=(int(model),) if model else (),
        formats=_one(form),
        roles=_one(role),
        finish_reasons=_one(finish),
        with_flags=_one(check) if check != NO_FINDING else (),
        has_flags=False if check == NO_FINDING else None,
        liking=next((one for one in get_args(Liking) if one == rating), None),
    )


def _checks(texts: TextFacets) -> dict[str, int | None]:
    """Return every check with its number of findings; none where nothing is counted yet."""
    none: int | None = 0 if texts.checks else None
    return {name: texts.checks.get(name, none) for name in CHECKS} | texts.checks


def _choose(
    name: str, values: Mapping[str, int | None], show: Callable[[str], str] | None = None
) -> str | None:
    """Draw one filter.

    Args:
        name: Of the filter in the URL and in the catalogue.
        values: Each value with its count; None where it is not counted.
        show: How a value is said; None: as it is.
    """

    def shown(value: str) -> str:
        said = one_line(show(value) if show else value, 40)
        n = values[value]
        return said if n is None else f"{said} ({count(n)})"

    return url.choose(
        name,
        t(f"explore.filter.{name}"),
        tuple(values),
        shown,
        any_label=t("any"),
        resets=("page",),
        help=t(f"explore.filter.{name}_help"),
    )


def _named(found: Mapping[int, tuple[str, Any]]) -> Callable[[str], str]:
    return lambda value: found[int(value)][0]


def _word(prefix: str) -> Callable[[str], str]:
    return lambda value: word(prefix, value)


def _one(value: str | None) -> tuple[str, ...]:
    return (value,) if value else ()
