"""The matrix against brute force: every filter alone and many together, on a small random store."""

import itertools
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database, open_database
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater, undo_ratings
from db.rating.summaries import RatingSummary
from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    PromptFormat,
    Question,
    QuestionTag,
    Rater,
    Rating,
    ReasoningVariant,
    Role,
    SweepGeneration,
    Tag,
)
from db.texts.matrix import MAX_EXCERPT, MatrixFilter, cells_of, matrix
from tests.store_rows import (
    make_answer,
    make_library,
    make_question,
    make_sweep,
    make_variant,
)

N_QUESTIONS = 14
FLAGS = ("cut_off", "form", "length")

SINGLE: list[dict[str, Any]] = [
    {},
    {"sweep_id": 1},
    {"sweep_id": 3},
    {"model_version_ids": (2,)},
    {"model_version_ids": (1, 2)},
    {"formats": ("chat@1",)},
    {"formats": ("chat@2", "nonsense")},
    {"roles": ("creator",)},
    {"finish_reasons": ("length",)},
    {"with_flags": ("form",)},
    {"with_flags": ("form", "length")},
    {"has_flags": False},
    {"has_flags": True},
    {"languages": ("ja",)},
    {"tags": ("odd",)},
    {"tags": ("odd", "third")},
    {"search": "number"},
    {"search": "?"},
    *({"liking": liking} for liking in ("rated", "liked", "mixed", "disliked", "unrated")),
]
"""Each filter alone."""

TOGETHER: list[dict[str, Any]] = [
    first | second
    for first, second in itertools.combinations(SINGLE[1:], 2)
    if not first.keys() & second.keys()
][::2]
"""Every second pair of filters: all of them would take long and tell no more."""


def fill(database: Database) -> None:
    """Write questions with reasonings and answers of all sorts, some without a reasoning."""
    chance = random.Random(4)
    with database.write() as session:
        make_library(session)
        session.add(PromptFormat(name="chat", version=1, definition={}, definition_hash="c"))
        session.flush()
        for name in ("one", "two", "empty"):
            make_sweep(session, name)
        tags = [Tag(name=name) for name in ("odd", "third")]
        session.add_all(tags)
        session.flush()

        def made() -> dict[str, Any]:
            values: dict[str, Any] = {
                "source": chance.choice(["model", "model", "model", "human"]),
                "flags": chance.sample(FLAGS, chance.choice([0, 0, 1, 2])),
            }
            if values["source"] == "model":
                values |= {
                    "sweep_id": chance.choice([None, 1, 1, 2]),
                    "model_version_id": chance.choice([1, 1, 2]),
                    "prompt_format_id": chance.choice([1, 2]),
                    "role_id": chance.choice([1, 2]),
                    "finish_reason": chance.choice(["stop", "stop", "length"]),
                }
            return values

        for number in range(1, N_QUESTIONS + 1):
            question_id = make_question(
                session,
                f"Question number {number}?" if number % 4 else f"質問 {number}",
                language=chance.choice(["en", "ja", None]),
                role=chance.choice(["assistant", "creator"]),
            )
            for tag, is_tagged in zip(tags, (number % 2, number % 3 == 0), strict=True):
                if is_tagged:
                    session.add(QuestionTag(question_id=question_id, tag_id=tag.id))
            for i in range(0 if number == 3 else chance.choice([0, 1, 3, 6])):
                variant_id = make_variant(session, question_id, f"Reasoning {i}.", **made())
                for j in range(chance.choice([0, 1, 3])):
                    make_answer(session, question_id, variant_id, f"Answer {j}.", **made())
            for j in range(0 if number == 3 else chance.choice([0, 0, 2])):
                make_answer(session, question_id, None, f"Plain {j}.", **made())
        _rate(session, chance)


def _rate(session: Any, chance: random.Random) -> None:
    aki = ensure_rater(session, "Aki")
    judge = Rater(name="judge", kind="model", model_version_id=1)
    session.add(judge)
    session.flush()
    numbers = itertools.count()

    def say(scope: Any, target: Target, rater: int = aki, **said: Any) -> int:
        one = NewRating(
            rater_id=rater,
            scope=scope,
            target=target,
            blind=True,
            card_id=f"c{next(numbers)}",
            **said,
        )  # type: ignore[arg-type]  # scopes are literal here
        return add_ratings(session, [one])[0]

    for kind, table in (("reasoning", ReasoningVariant), ("answer", Answer)):
        rows = session.scalars(select(table).order_by(table.id)).all()
        targets = [
            Target(question_id=row.question_id, variant_id=row.id)
            if kind == "reasoning"
            else Target(question_id=row.question_id, variant_id=row.variant_id, answer_id=row.id)
            for row in rows
        ]
        for target in targets[::2]:
            for _ in range(chance.choice([1, 2])):
                say(kind, target, axis="clear", value=chance.choice([1, 2, 3, 4, 5]))
        for target in targets[::5]:
            say(kind, target, axis="ok", value=chance.choice([0, 1]))
        for first, second in itertools.pairwise(targets):
            if first.question_id == second.question_id and chance.random() < 0.5:
                outcome = chance.choice(["a", "b", "tie", "both_bad"])
                say(kind, first, other=second, axis="preference", outcome=outcome)
        # What must not count: a model's rating, an undone one, a tag.
        for target in targets[1::6]:
            say(kind, target, rater=judge.id, axis="clear", value=5)
            undo_ratings(session, [say(kind, target, axis="clear", value=1)])
            say(kind, target, axis="tag", label="odd")


class Brute:
    """The store as it is, read once without any condition; the filters are applied in Python."""

    def __init__(self, session: Any) -> None:
        def rows(table: Any) -> list[Any]:
            return list(session.scalars(select(table)))

        self.questions = sorted(rows(Question), key=lambda row: -row.id)
        self.texts = {"variant": rows(ReasoningVariant), "answer": rows(Answer)}
        self.generations = {row.id: row for row in rows(Generation)}
        self.formats = {row.id: f"{row.name}@{row.version}" for row in rows(PromptFormat)}
        self.roles = {row.id: row.name for row in rows(Role)}
        tags = {row.id: row.name for row in rows(Tag)}
        self.tags = [(row.question_id, tags[row.tag_id]) for row in rows(QuestionTag)]
        self.sweeps = [(row.generation_id, row.sweep_id) for row in rows(SweepGeneration)]
        self.found = rows(CheckFlag)
        people = {row.id for row in rows(Rater) if row.kind == "person"}
        undone = {row.undoes_id for row in rows(Rating)}
        self.ratings = [
            row
            for row in rows(Rating)
            if row.id not in undone and row.undoes_id is None and row.rater_id in people
        ]

    def cells(self, wanted: MatrixFilter) -> dict[int, list[str]]:
        found = {}
        for question in self.questions:
            variants = [row for row in self.texts["variant"] if row.question_id == question.id]
            own = [
                f"v{row.id}"
                for row in variants
                if self.fits(wanted, "variant", row)
                or any(self.fits(wanted, "answer", a) for a in self.under(question.id, row.id))
            ]
            under_none = self.under(question.id, None)
            plain = [f"a{row.id}" for row in under_none if self.fits(wanted, "answer", row)]
            if self._asks(wanted, question) and (plain or own):
                found[question.id] = plain[:1] + own
        return found

    def under(self, question_id: int, variant_id: int | None) -> list[Answer]:
        own = [row for row in self.texts["answer"] if row.question_id == question_id]
        return [row for row in own if row.variant_id == variant_id]

    def _asks(self, wanted: MatrixFilter, question: Question) -> bool:
        tags = {name for question_id, name in self.tags if question_id == question.id}
        return (
            (not wanted.tags or bool(tags & set(wanted.tags)))
            and (not wanted.languages or question.language in wanted.languages)
            and (not wanted.search or f" {wanted.search}" in question.text)
        )

    def fits(self, wanted: MatrixFilter, kind: str, text: Any) -> bool:
        made = self.generations.get(text.generation_id)
        role = next(q.role for q in self.questions if q.id == text.question_id)
        model_id = form = finish = None
        if made is not None:
            role, form = self.roles[made.role_id], self.formats[made.prompt_format_id]
            model_id, finish = made.model_version_id, made.finish_reason
        flags = set(self.flags(kind, text.id))
        return (
            wanted.kind in (None, kind)
            and (wanted.sweep_id is None or (text.generation_id, wanted.sweep_id) in self.sweeps)
            and (not wanted.model_version_ids or model_id in wanted.model_version_ids)
            and (not wanted.formats or form in wanted.formats)
            and (not wanted.roles or role in wanted.roles)
            and (not wanted.finish_reasons or finish in wanted.finish_reasons)
            and (not wanted.with_flags or bool(flags & set(wanted.with_flags)))
            and (wanted.has_flags is None or bool(flags) is wanted.has_flags)
            and (wanted.liking is None or wanted.liking in self._likings(kind, text.id))
        )

    def _likings(self, kind: str, text_id: int) -> tuple[str, ...]:
        points = self.points(kind, text_id)
        if not points:
            return ("unrated",)
        score = sum(points) / len(points)
        return "rated", "liked" if score >= 2 / 3 else "disliked" if score <= 1 / 3 else "mixed"

    def flags(self, kind: str, text_id: int) -> list[str]:
        return [row.name for row in self.found if getattr(row, f"{kind}_id") == text_id]

    def points(self, kind: str, text_id: int) -> list[float]:
        points = []
        for row in self.ratings:
            if (row.scope == "reasoning") != (kind == "variant") or row.label is not None:
                continue
            is_own = getattr(row, f"{kind}_id") == text_id
            is_other = getattr(row, f"other_{kind}_id") == text_id
            if row.outcome is not None:
                points += [{"a": 1.0, "tie": 0.5}.get(row.outcome, 0.0)] * is_own
                points += [{"b": 1.0, "tie": 0.5}.get(row.outcome, 0.0)] * is_other
            elif is_own:
                points.append(row.value if row.axis == "ok" else (row.value - 1) / 4)
        return points


@pytest.fixture(scope="module")
def filled(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path = tmp_path_factory.mktemp("matrix") / "q2q.sqlite"
    shutil.copy(migrated_file, path)
    database = open_database(f"sqlite:///{path}")
    fill(database)
    yield database
    database.close()


@pytest.fixture(scope="module")
def brute(filled: Database) -> Brute:
    with filled.read() as session:
        return Brute(session)


def found_by(database: Database, wanted: MatrixFilter) -> dict[int, list[str]]:
    with database.read() as session:
        page = matrix(session, wanted, page_size=100, max_cells=100)
    assert page.total == len(page.rows)
    assert all(row.n_cells == len(row.cells) for row in page.rows)
    return {row.question_id: [cell.ref for cell in row.cells] for row in page.rows}


@pytest.mark.parametrize("kind", [None, "variant", "answer"])
@pytest.mark.parametrize("wanted", SINGLE, ids=str)
def test_each_filter_finds_what_brute_force_finds(
    filled: Database, brute: Brute, wanted: dict[str, Any], kind: Any
) -> None:
    filter = MatrixFilter(**wanted, kind=kind)
    found = found_by(filled, filter)
    assert found == brute.cells(filter)
    assert list(found) == sorted(found, reverse=True)


def test_filters_together_find_what_brute_force_finds(filled: Database, brute: Brute) -> None:
    n_found = 0
    for wanted, kind in zip(TOGETHER, itertools.cycle([None, "variant", "answer"]), strict=False):
        filter = MatrixFilter(**wanted, kind=kind)
        found = found_by(filled, filter)
        assert found == brute.cells(filter), filter
        n_found += bool(found)
    assert n_found > len(TOGETHER) / 2


def test_this_store_tells_the_filters_apart(brute: Brute) -> None:
    cells = [brute.cells(MatrixFilter(**wanted)) for wanted in SINGLE]
    finding_none = [wanted for wanted, own in zip(SINGLE, cells, strict=True) if not own]
    assert finding_none == [{"sweep_id": 3}, {"formats": ("chat@2", "nonsense")}, {"search": "?"}]
    assert len({str(own) for own in cells}) == len(SINGLE) - 2


def test_pages_and_first_cells_are_parts_of_the_whole(filled: Database) -> None:
    with filled.read() as session:
        whole = matrix(session, MatrixFilter(), page_size=100, max_cells=100)
        pages = [matrix(session, MatrixFilter(), n, page_size=5, max_cells=2) for n in (1, 2, 3)]
    rows = [row for page in pages for row in page.rows]
    assert [row.question_id for row in rows] == [row.question_id for row in whole.rows]
    assert [row.cells for row in rows] == [row.cells[:2] for row in whole.rows]
    assert [row.n_cells for row in rows] == [row.n_cells for row in whole.rows]
    assert max(row.n_cells for row in rows) > 2
    with filled.read() as session:
        assert matrix(session, MatrixFilter(), 99, page_size=5).page == 3


def test_a_cell_tells_what_is_under_it(filled: Database, brute: Brute) -> None:
    with filled.read() as session:
        page = matrix(session, MatrixFilter(), page_size=100, max_cells=100)
    for row in page.rows:
        for cell in row.cells:
            under = brute.under(row.question_id, cell.id if cell.kind == "variant" else None)
            assert cell.n_answers == len(under)
            assert sorted(cell.flags) == sorted(brute.flags(cell.kind, cell.id))
            assert_rated(cell.rating, brute.points(cell.kind, cell.id))
            if cell.kind == "variant":
                found = [name for answer in under for name in brute.flags("answer", answer.id)]
                assert dict(cell.answer_flags) == Counter(found)
                points = [point for answer in under for point in brute.points("answer", answer.id)]
                assert_rated(cell.answers_rating, points)


def assert_rated(summary: RatingSummary | None, points: list[float]) -> None:
    assert (summary is None) == (not points)
    if summary is not None:
        assert summary.score == pytest.approx(sum(points) / len(points))
        told = summary.won + summary.tied + summary.lost + summary.n_ok + summary.n_not_ok
        assert told + summary.n_values == len(points)


def test_the_page_of_a_question_holds_all_its_cells(filled: Database) -> None:
    with filled.read() as session:
        for row in matrix(session, MatrixFilter(), page_size=100, max_cells=100).rows:
            pages = [cells_of(session, row.question_id, n, 3) for n in (1, 2, 3)]
            assert (
                tuple(cell for page in pages if page.page for cell in page.rows)[: row.n_cells]
                == row.cells
            )
            assert pages[0].total == row.n_cells
        assert cells_of(session, 3).rows == ()


def test_long_texts_are_cut_by_the_store(database: Database) -> None:
    with database.write() as session:
        make_library(session)
        question_id = make_question(session, "長い" * 100_000)
        variant_id = make_variant(session, question_id, "You should. " * 20_000)
        make_answer(session, question_id, None, "x" * 200_000, source="human")
    with database.read() as session:
        row = matrix(session, MatrixFilter()).rows[0]
    assert len(row.excerpt) == MAX_EXCERPT
    assert [len(cell.excerpt) for cell in row.cells] == [MAX_EXCERPT, MAX_EXCERPT]
    assert [cell.ref for cell in row.cells] == ["a1", f"v{variant_id}"]
