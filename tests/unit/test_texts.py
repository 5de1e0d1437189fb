"""Reasonings and answers are listed, shown side by side, and traced to what wrote them."""

import shutil
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from db.bulk import Page
from db.database import Database, open_database
from db.errors import UsageError
from db.identity import Ref, parse_ref
from db.tables import Answer, Engine, Rater, ReasoningVariant, SweepGeneration, VariantParent
from db.texts.cards import MAX_VARIANTS, question_card, variant_cards
from db.texts.lists import TextFilter, list_texts
from db.texts.provenance import provenance
from db.texts.rows import TextRow
from tests.store_rows import (
    SAMPLING,
    make_answer,
    make_generation,
    make_library,
    make_prompt,
    make_question,
    make_sweep,
    make_variant,
)
from tests.unit.test_questions import explain, statements

DAY = datetime(2026, 11, 23, tzinfo=UTC)


FOUND: list[tuple[dict[str, Any], str]] = [
    ({}, "a5 a4 v4 a3 v3 a2 v2 a1 v1"),
    ({"kind": "variant"}, "v4 v3 v2 v1"),
    ({"kind": "answer"}, "a5 a4 a3 a2 a1"),
    ({"sweep_id": 1}, "a4 a2 a1 v2 v1"),
    ({"sweep_id": 2}, ""),
    ({"question_ids": (2,)}, "a5 a4 v4 v3"),
    ({"question_ids": ()}, ""),
    ({"model_version_ids": (2,)}, "v3"),
    ({"formats": ("tagged@1",)}, "a4 a3 v3 a2 v2 a1 v1"),
    ({"formats": ("tagged@2", "chat@1", "nonsense")}, ""),
    ({"roles": ("creator",)}, "a5 v4 v3"),
    ({"roles": ("assistant",), "kind": "answer"}, "a4 a3 a2 a1"),
    ({"modes": ("supplied",)}, "a4"),
    ({"languages": ("ja",)}, "a5 a4 v4 v3"),
    ({"sources": ("human", "imported")}, "a5 v4"),
    ({"finish_reasons": ("length",)}, "v2"),
    ({"with_flags": ("length",)}, "a2 v2"),
    ({"with_flags": ("length",), "without_flags": ("boilerplate",)}, "a2"),
    ({"without_flags": ("length",)}, "a5 a4 v4 a3 v3 a1 v1"),
    ({"has_flags": True}, "a2 v2"),
    ({"has_flags": False, "kind": "variant"}, "v4 v3 v1"),
    ({"search": "富士"}, "v3"),
    ({"search": "think light"}, "v1"),
    ({"search": "s", "sweep_id": 1}, "a1 v2 v1"),
    ({"search": "?"}, ""),
]
"""A filter, and what it finds in ``fill``; true of both kinds of database."""


def fill(database: Database) -> None:
    """Write two questions, four reasonings (v4 by a person), five answers (a5 by a person)."""
    with database.write() as session:
        make_library(session)
        sky = make_question(session, "Why is the sky blue?", language="en")
        fuji = make_question(session, "富士山の高さは？", language="ja", role="creator")
        sweep = make_sweep(session)
        make_sweep(session, "empty")
        v1 = make_variant(session, sky, "You should think of light.", sweep_id=sweep)
        v2 = make_variant(
            session,
            sky,
            "You should think.",
            sweep_id=sweep,
            replicate=1,
            flags=("length", "boilerplate"),
            finish_reason="length",
        )
        v3 = make_variant(session, fuji, "富士山を調べる。", model_version_id=2, role_id=2)
        v4 = make_variant(session, fuji, "Mine.", source="human")
        make_answer(session, sky, v1, "Scattering.", sweep_id=sweep)
        make_answer(session, sky, v1, "Rayleigh.", sweep_id=sweep, replicate=1, flags=("length",))
        make_answer(session, sky, v2, "So it is.")
        make_answer(session, fuji, v3, "3776 m", mode="supplied", sweep_id=sweep)
        make_answer(session, fuji, None, "高い", source="imported")
        make_generation(session, sky, error="The server gave nothing.", sweep_id=sweep)
        session.add(VariantParent(variant_id=v4, parent_id=v3))
        for number in range(1, 6):
            later = DAY + timedelta(seconds=10 * number)
            session.execute(
                update(ReasoningVariant)
                .where(ReasoningVariant.id == number)
                .values(created_at=later)
            )
            session.execute(
                update(Answer)
                .where(Answer.id == number)
                .values(created_at=later + timedelta(seconds=5))
            )


@pytest.fixture(scope="module")
def filled_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "q2q.sqlite"
    shutil.copy(migrated_file, path)
    database = open_database(f"sqlite:///{path}")
    fill(database)
    database.close()
    return path


@pytest.fixture
def filled(filled_file: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(filled_file, tmp_path / "q2q.sqlite")
    database = open_database(f"sqlite:///{tmp_path / 'q2q.sqlite'}")
    yield database
    database.close()


def refs(page: Page[TextRow]) -> str:
    return " ".join(row.ref for row in page.rows)


@pytest.mark.parametrize(("wanted", "found"), FOUND)
def test_a_filter_finds(filled: Database, wanted: dict[str, Any], found: str) -> None:
    with filled.read() as session:
        assert refs(list_texts(session, TextFilter(**wanted))) == found


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"search": "s", "sweep_id": 1}, "a1 v2 v1"),
        ({"search": "s", "sweep_id": 2}, ""),
        ({"search": "you", "sources": ("model",)}, "v2 v1"),
        ({"search": "you think", "has_flags": False}, "v1"),
    ],
)
def test_older_hits_are_read_where_the_newest_do_not_tell_all(
    filled: Database,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    wanted: dict[str, Any],
    found: str,
) -> None:
    monkeypatch.setattr("db.texts.lists.MAX_HITS", most)
    with filled.read() as session:
        assert refs(list_texts(session, TextFilter(**wanted))) == found


def test_pages_of_both_kinds_follow_each_other(filled: Database) -> None:
    with filled.read() as session:
        pages = [list_texts(session, TextFilter(), page, 4) for page in (1, 2, 3)]
    assert [refs(page) for page in pages] == ["a5 a4 v4 a3", "v3 a2 v2 a1", "v1"]
    assert {page.total for page in pages} == {9}


def test_a_row_tells_what_wrote_the_text(filled: Database) -> None:
    with filled.read() as session:
        by_model, by_person = list_texts(
            session, TextFilter(kind="variant", question_ids=(1, 2))
        ).rows[-2:-5:-2]
    assert by_model.flags == ("boilerplate", "length")
    assert (by_model.model, by_model.prompt_format, by_model.role) == (
        "small",
        "tagged@1",
        "assistant",
    )
    assert (by_model.mode, by_model.replicate, by_model.sampling) == ("reasoning", 1, SAMPLING)
    assert (by_model.question, by_model.finish_reason) == ("Why is the sky blue?", "length")
    assert (by_person.ref, by_person.source, by_person.role) == ("v4", "human", "creator")
    assert (by_person.model, by_person.sampling, by_person.generation_id) == (None, None, None)


def test_a_page_costs_the_same_few_queries_however_long_it_is(filled: Database) -> None:
    counts = []
    for page_size in (3, 9):
        with filled.read() as session, statements(filled) as seen:
            list_texts(session, TextFilter(), page_size=page_size)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 7  # whether anything is archived is asked once for each kind


@pytest.mark.parametrize(
    "wanted",
    [{}, {"languages": ("ja",)}, {"model_version_ids": (1,)}, {"with_flags": ("length",)},
     {"roles": ("creator",)}, {"sweep_id": 1}, {"sweep_id": 1, "languages": ("en",)}],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["variant", "answer"])
def test_the_newest_texts_are_read_in_order_and_not_sorted(
    filled: Database, kind: Any, wanted: dict[str, Any]
) -> None:
    with filled.read() as session, statements(filled) as seen:
        list_texts(session, TextFilter(kind=kind, **wanted))
    plan = explain(filled, *seen[0])
    assert "TEMP B-TREE FOR ORDER BY" not in plan
    assert "SCAN generation" not in plan


def test_a_card_shows_reasonings_with_their_answers(filled: Database) -> None:
    with filled.read() as session:
        card = question_card(session, 1)
    assert card.question.text == "Why is the sky blue?"
    assert [(one.variant.ref, [row.ref for row in one.answers]) for one in card.variants] == [
        ("v1", ["a1", "a2"]),
        ("v2", ["a3"]),
    ]
    assert (card.n_variants, card.n_answers, card.n_failed) == (2, 3, 1)


def test_a_reasoning_is_read_by_its_id_however_many_came_before_it(filled: Database) -> None:
    with filled.write() as session:
        ids = [make_variant(session, 1, f"Look up {n}.") for n in range(MAX_VARIANTS + 1)]
        answer = make_answer(session, 1, ids[-1], "It is blue.")
        other = make_variant(session, 2, "Of another question.")
    with filled.read() as session:
        assert ids[-1] not in {one.variant.id for one in question_card(session, 1).variants}
        found = variant_cards(session, 1, [1, ids[-1], other])
    assert list(found) == [1, ids[-1]]
    assert [row.id for row in found[ids[-1]].answers] == [answer]
    assert [row.ref for row in found[1].answers] == ["a1", "a2"]


def test_a_card_shows_parents_and_answers_without_reasoning(filled: Database) -> None:
    with filled.read() as session:
        card = question_card(session, 2)
    assert [one.parent_ids for one in card.variants] == [(), (3,)]
    assert [row.ref for row in card.without_reasoning] == ["a5"]


def test_a_card_of_a_sweep_holds_its_own_texts_and_the_reasonings_it_was_given(
    filled: Database,
) -> None:
    with filled.read() as session:
        sky, fuji = question_card(session, 1, sweep_id=1), question_card(session, 2, sweep_id=1)
        other = question_card(session, 1, sweep_id=2)
    assert [[row.ref for row in one.answers] for one in sky.variants] == [["a1", "a2"], []]
    assert [one.variant.ref for one in fuji.variants] == ["v3"]
    assert fuji.without_reasoning == ()
    assert (sky.n_failed, other.variants, other.n_failed) == (1, (), 0)


def test_a_failure_with_a_good_second_attempt_is_no_failure(filled: Database) -> None:
    with filled.write() as session:
        failed = make_generation(session, 2, error="Nothing.")
        make_generation(session, 2, slot_key=failed.slot_key, attempt=2)
    with filled.read() as session:
        assert question_card(session, 2).n_failed == 0


def test_provenance_tells_everything_of_a_generated_text(filled: Database) -> None:
    with filled.write() as session:
        prompt = make_prompt(
            session, "<|instruction|>Why?", struct.pack("<3I", 1, 523, 4_000_000_000)
        )
        session.add(Engine(name="local", kind="child"))
        session.flush()
        given = make_variant(session, 1, "Given.")
        answer = make_answer(
            session, 1, given, "Because.", prompt_id=prompt, engine_id=1, model_version_id=2,
            seed=7, request_id="r1", choice_index=2, engine_version="vllm 0.32.0", sweep_id=2,
            latency_ms=12.5, stop_reason="</s>", flags=("form",), text="raw completion",
        )  # fmt: skip
        made = session.get_one(Answer, answer)
        session.add(SweepGeneration(sweep_id=1, generation_id=made.generation_id, made_here=False))
    with filled.read() as session:
        told = provenance(session, f"a{answer}")
    origin = told.generation
    assert origin is not None
    assert (told.text, told.source, told.parents) == ("Because.", "model", (Ref("variant", given),))
    assert told.checks == (("form", None),)
    assert origin.prompt_text == "<|instruction|>Why?"
    assert origin.prompt_token_ids == (1, 523, 4_000_000_000)
    assert (origin.model.name, origin.model.digest) == ("tuned", "sha256:2")
    assert [model.name for model in origin.lineage] == ["small"]
    assert (origin.prompt_format, origin.role, origin.system) == (
        "tagged@1",
        "assistant@1",
        "Answer.",
    )
    assert (origin.sampling, origin.seed, origin.request_id) == (SAMPLING, 7, "r1")
    assert (origin.engine, origin.engine_version) == ("local", "vllm 0.32.0")
    assert (origin.latency_ms, origin.stop_reason, origin.choice_index) == (12.5, "</s>", 2)
    assert origin.completion == "raw completion"
    assert origin.sweeps == ((2, "empty"), (1, "first"))


def test_provenance_of_a_text_by_a_person(filled: Database) -> None:
    with filled.write() as session:
        session.add(Rater(name="Aki"))
        session.flush()
        session.get_one(ReasoningVariant, 4).author_id = 1
        session.get_one(Answer, 5).parent_id = 4
    with filled.read() as session:
        told, answer = provenance(session, Ref("variant", 4)), provenance(session, "a5")
    assert (told.author, told.generation, told.parents) == ("Aki", None, (Ref("variant", 3),))
    assert answer.parents == (Ref("answer", 4),)


def test_provenance_of_a_failed_generation(filled: Database) -> None:
    with filled.read() as session:
        told = provenance(session, "g8")
    assert told.generation is not None
    assert (told.text, told.generation.error) == (None, "The server gave nothing.")
    assert told.generation.prompt_token_ids is None


@pytest.mark.parametrize("missing", ["v99", "a99", "g99"])
def test_what_is_not_there_gives_a_sentence(filled: Database, missing: str) -> None:
    with filled.read() as session, pytest.raises(UsageError, match=f"There is no .* {missing}"):
        provenance(session, missing)


def test_questions_and_models_have_no_provenance(filled: Database) -> None:
    with filled.read() as session, pytest.raises(UsageError, match="q1 is a question"):
        provenance(session, "q1")


def test_ids_carry_a_letter() -> None:
    assert parse_ref(" V12 ") == Ref("variant", 12)
    assert parse_ref("ｑ１２") == Ref("question", 12)
    assert [str(parse_ref(name)) for name in ("q1", "v2", "a3", "g4", "m5")] == [
        "q1", "v2", "a3", "g4", "m5",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", ["", "12", "x1", "v", "v-1", "v1 v2", "v1.5", "v" + "9" * 19])
def test_another_form_of_id_gives_a_sentence(wrong: str) -> None:
    with pytest.raises(UsageError, match="is no id; ids are a letter and a number"):
        parse_ref(wrong)
