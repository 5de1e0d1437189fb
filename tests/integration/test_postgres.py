"""The same store on a real PostgreSQL server: migrations, search, lists, rules, jobs, views."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import IntegrityError

from db.database import Database, open_database
from db.dialogues import list_dialogues
from db.errors import Q2QError
from db.generations import find_slots
from db.identity import Ref
from db.jobs import claim, enqueue
from db.lineage.read import lineage
from db.questions import (
    NewQuestion,
    QuestionFilter,
    add_question,
    edit_question,
    list_questions,
    question_facets,
    take_into_pool,
)
from db.rating.columns import RatingFilter, high_water
from db.rating.queues import get_queue
from db.rating.ratings import ensure_rater
from db.search import index_texts, search_ids
from db.settings import Settings
from db.store import schema
from db.store.archive import archive
from db.store.migrate import open_store, status, upgrade, upgrade_store
from db.store.schema import VIEWS
from db.store.staging import ImportRuns, import_lock
from db.sweeps import get_sweep, list_sweeps
from db.tables import Question, QuestionTag, Rating, Tag
from db.texts.cards import question_card
from db.texts.facets import text_facets
from db.texts.lists import TextFilter, list_texts
from db.texts.matrix import MatrixFilter, cells_of
from db.texts.provenance import comparable, provenance
from serving.formats.library import load_definitions, sync_definitions
from serving.importers.folders import read_examples
from serving.importers.questions import import_questions
from serving.importers.readers import read_rows
from serving.importers.training_data import Judge, import_examples
from tests.app.seed import seed_store
from tests.app.seed_matrix import seed_matrix
from tests.app.seed_ratings import seed_ratings
from tests.fakes.server import FakeServer
from tests.migration.test_migrations import differences
from tests.store_rows import make_generation, make_library, make_question
from tests.unit import test_import_staging as staging
from tests.unit import test_lineage, test_matrix, test_search, test_texts
from tests.unit.dataset_lab import registry_of
from tests.unit.dialogue_lab import Lab
from training.datasets.candidates import read_proposals
from workbench.dialogue.compare import figures
from workbench.dialogue.decisions import choose, pick
from workbench.dialogue.export import read_export
from workbench.insights.correctness import read_accuracy
from workbench.insights.report import read_insights
from workbench.matrix.rows import MatrixQuery, count_levels, matrix_design, matrix_rows
from workbench.matrix.totals import totals
from workbench.rating.cards import CardRating
from workbench.rating.power import power_estimate
from workbench.rating.queues import QueueSpec, build_queue, save_queue
from workbench.rating.table import save_table, table_page

pytestmark = pytest.mark.postgres

NUMBERS = count(1)


@pytest.fixture(scope="module")
def migrated(postgres_url: str) -> str:
    """Return the name of a store without rows, to be copied."""
    return new_store(postgres_url, "template0")


def new_store(postgres_url: str, template: str) -> str:
    name = f"store_{next(NUMBERS)}"
    server = open_database(postgres_url)
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    server.close()
    if template == "template0":
        database = open_database(url_of(postgres_url, name))
        upgrade(database)
        database.close()
    return name


def url_of(postgres_url: str, name: str) -> str:
    return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def store(postgres_url: str, migrated: str) -> Iterator[Database]:
    database = open_database(url_of(postgres_url, new_store(postgres_url, migrated)))
    yield database
    database.close()


def test_a_migrated_store_is_what_the_models_say(store: Database) -> None:
    assert status(store).is_current
    assert differences(store) == []


def test_a_store_is_opened_and_upgraded_by_its_url(store: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=store.engine.url.render_as_string())
    assert upgrade_store(settings) is None
    opened = open_store(settings)
    assert opened.path is None
    opened.close()


def test_two_upgrades_at_once_wait_for_each_other(store: Database) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: upgrade(store), range(2)))
    assert status(store).is_current


def test_a_failing_upgrade_changes_nothing(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("in the last step")

    monkeypatch.setattr(schema, "create_views", fail)
    with pytest.raises(RuntimeError):
        upgrade(store)
    with store.read() as session:
        assert session.scalar(text("SELECT count(*) FROM v_variant")) == 0


def test_search_finds_what_it_finds_in_a_file(store: Database) -> None:
    with store.write() as session:
        index_texts(session, "question", test_search.TEXTS.items())
        index_texts(session, "answer", [(1, "富士 answer")])
        index_texts(session, "question", test_search.TEXTS.items())
    with store.read() as session:
        for query, found in test_search.FOUND:
            assert search_ids(session, "question", query) == found, query
        for signs in test_search.SIGNS:
            search_ids(session, "question", f"{signs}富{signs} {signs}")


def test_a_very_long_text_is_indexed_in_part(store: Database) -> None:
    words = " ".join(f"word{number}" + "é" * 24 for number in range(50_000))
    with store.write() as session:
        index_texts(session, "answer", [(1, words), (2, "富士山" * 500_000)])
    with store.read() as session:
        assert search_ids(session, "answer", "word77é") == [1]
        assert search_ids(session, "answer", "士山富") == [2]


def test_texts_are_listed_as_from_a_file(store: Database) -> None:
    test_texts.fill(store)
    with store.read() as session:
        for wanted, found in test_texts.FOUND:
            page = list_texts(session, TextFilter(**wanted))
            assert " ".join(row.ref for row in page.rows) == found, wanted
        card = question_card(session, 1, sweep_id=1)
        told = provenance(session, "v2")
    assert [[row.ref for row in one.answers] for one in card.variants] == [["a1", "a2"], []]
    assert card.n_failed == 1
    assert told.checks == (("boilerplate", "found"), ("length", "found"))


def test_the_matrix_finds_what_brute_force_finds(store: Database) -> None:
    test_matrix.fill(store)
    with store.read() as session:
        brute = test_matrix.Brute(session)
        facets = text_facets(session)
    for wanted in test_matrix.SINGLE + test_matrix.TOGETHER[::7]:
        filter = MatrixFilter(**wanted)
        assert test_matrix.found_by(store, filter) == brute.cells(filter), wanted
    assert sum(facets.roles.values()) == len(brute.generations)


def test_lineage_is_told_both_ways_as_from_a_file(store: Database) -> None:
    test_lineage.fill(store)
    with store.read() as session:
        for name, (up, down) in test_lineage.BOTH_WAYS.items():
            found = lineage(session, name)
            assert (test_lineage.told(found.up), test_lineage.told(found.down)) == (up, down)
        assert cells_of(session, 1).total == 3
        assert list(comparable(session, Ref("answer", 2)))[:2] == ["a1", "v1"]
        cut = provenance(session, "v1", limit=3)
    assert cut.text == "Thi"
    assert cut.generation is not None
    assert cut.generation.prompt_text == "<|i"


def test_every_view_can_be_read(store: Database) -> None:
    test_texts.fill(store)
    with store.read() as session:
        rows = {
            view: session.execute(text(f"SELECT * FROM {view}")).mappings().all() for view in VIEWS
        }
    assert {view: len(found) for view, found in rows.items()} == {
        "v_question": 2, "v_variant": 4, "v_answer": 5, "v_generation": 8, "v_rating": 0,
        "v_sweep": 2, "v_sweep_text": 6,
    }  # fmt: skip
    by_model = next(row for row in rows["v_variant"] if row["variant_id"] == 2)
    assert (by_model["flags"], by_model["temperature"]) == ("boilerplate, length", 0.8)


def test_questions_are_imported_searched_edited_and_counted(store: Database) -> None:
    file = "question,language,tags\n富士山の高さは？,ja,mountain\nWhat is water?,en,\n".encode()
    result = read_rows(file, name="questions.csv")
    assert import_questions(store, result).added == 2
    assert import_questions(store, result).skipped == 2
    with store.write() as session:
        edit_question(session, 1, NewQuestion(text="富士山の形は？", tags=("mountain",)))
        assert add_question(session, NewQuestion(text="What is water?"))[1] is False
    with store.read() as session:
        found = list_questions(session, QuestionFilter(search="富士", tags=("mountain",)))
        facets = question_facets(session)
    assert [row.parent_id for row in found.rows] == [1, None]
    assert (facets.total, facets.tags) == (3, {"mountain": 2})
    with store.write() as session:
        assert archive(session, "question", [1]) == 1
        facets = question_facets(session)
        assert (facets.total, facets.tags, facets.languages) == (2, {"mountain": 1}, {"en": 1})
        assert take_into_pool(session, [1, 2]) == 1


def test_pairs_labels_and_held_out_rows_are_imported_as_training_data(
    store: Database, tmp_path: Path
) -> None:
    rows = [
        {"question": "Paired?", "chosen": "Yes.", "rejected": "No."},
        {"question": "Judged?", "reasoning": "You should look.", "answer": "Yes.", "label": True},
        {"question": "Held?", "answer": "Yes.", "held_out": True, "tags": ["kept"]},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with store.write() as session:
        registry = sync_definitions(session, load_definitions())
    brought = []
    for tag in ("first", "second"):
        files = read_examples(tmp_path / "rows.jsonl", registry)
        done = import_examples(store, files, judge=Judge(), tags=[tag])
        brought.append((done.counts.questions, done.counts.comparisons, done.counts.labels))
    assert brought == [(3, 1, 1), (0, 0, 0)]
    with store.read() as session:
        ratings = session.execute(select(Rating.axis, Rating.value, Rating.outcome)).all()
        held = session.scalar(select(Question.held_out).where(Question.text == "Held?"))
        n_tags = session.scalar(select(func.count()).select_from(QuestionTag))
    assert {tuple(one) for one in ratings} == {("preference", None, "a"), ("ok", 1.0, None)}
    assert (held, n_tags) == (True, 7)


def test_an_import_is_all_or_nothing_in_short_transactions(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.database.LONGEST_S", 0)
    monkeypatch.setattr("serving.importers.writing._BATCH", 20)
    before, shown = staging.everything(store), staging.seen(store)

    def stop(done: int) -> None:
        assert staging.seen(store) == shown
        if done > 300:
            with store.write() as session:
                add_question(session, NewQuestion(text="Who writes meanwhile?"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        staging.bring(store, stop, staging.rows(90))
    assert set(staging.everything(store)) == set(before)
    assert staging.seen(store)["questions"] == 1
    with import_lock(store), pytest.raises(ImportRuns), import_lock(store, wait_s=0):
        pass
    assert staging.bring(store, lambda _: None, staging.rows(90)).added == 90
    assert staging.seen(store)["facets"].tags == {"known": 90, "new": 90}
    assert staging.bring(store, lambda _: None, staging.rows(90, tags="later")).updated == 90
    assert staging.seen(store)["facets"].tags["later"] == 90


def test_a_slot_has_at_most_one_good_attempt(store: Database) -> None:
    with store.write() as session:
        make_library(session)
        question = make_question(session)
        make_generation(session, question, slot_key="k", error="Nothing came.")
        make_generation(session, question, slot_key="k", attempt=2)
    with pytest.raises(IntegrityError), store.write() as session:
        make_generation(session, question, slot_key="k", attempt=3)
    with store.read() as session:
        assert find_slots(session, 1, ["k"])["k"].ok_generation_id == 2


def test_a_job_is_claimed_by_one_of_two_connections(store: Database) -> None:
    with store.write() as session:
        first, second = enqueue(session, "sweep"), enqueue(session, "sweep")
    with store.write(concurrently=True) as one, store.write(concurrently=True) as other:
        claimed = [claim(one, "worker one"), claim(other, "worker two")]
        assert [job.id for job in claimed if job is not None] == [first, second]
    with store.write() as session:
        assert claim(session, "worker three") is None


def test_sweeps_are_listed_with_their_progress(store: Database) -> None:
    test_texts.fill(store)
    with store.read() as session:
        assert [sweep.name for sweep in list_sweeps(session, 10)] == ["empty", "first"]
        assert get_sweep(session, 1).answers == 3


def test_a_reader_sees_one_moment_while_others_write(store: Database) -> None:
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Tag)) == 0
        with store.write() as writer:
            writer.add(Tag(name="new"))
        assert session.scalar(select(func.count()).select_from(Tag)) == 0


def test_a_server_that_is_not_there_gives_a_sentence(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:secret@/q2q?host={tmp_path}"
    with pytest.raises(Q2QError, match="cannot be used") as caught:
        open_store(Settings(home=tmp_path, database_url=url))
    assert "secret" not in str(caught.value)


def test_insights_are_computed_on_it(store: Database) -> None:
    rated = seed_ratings(store, seed_store(store))
    with store.read() as session:
        found = read_insights(session, RatingFilter(queue_id=rated.queue_id, sweep_id=1))
        assert high_water(session).endswith("/1")
    assert found.counts.comparisons == 58
    assert found.rankings[0].places[0].name == "temperature 0.2"
    assert sum(cards for _, _, cards in found.days) == 58


def test_a_sweep_is_graded_and_read_as_a_matrix(store: Database) -> None:
    sweep = seed_matrix(store)
    query = MatrixQuery(sweep_ids=(sweep,), show="differ")
    with store.read() as session:
        rows = matrix_rows(session, query)
        counted = count_levels(session, (sweep,))
        design = matrix_design(session, query, rows, counted)
        every = totals(counted, design)
        overall = read_accuracy(session, sweep)
        assert matrix_rows(session, MatrixQuery(show="found"))
        assert count_levels(session, ()).levels
    assert len(rows) == 11  # all but the question without a reference
    assert design.by == ("role", "model", "temperature")
    assert sum(one.n for one in every) == 12 * 8 * 4
    assert sum(one.n_graded for one in every) == overall.n_answers == 11 * 8 * 4


def test_a_turn_of_a_dialogue_is_held_as_in_a_file(
    store: Database, fake_server: FakeServer
) -> None:
    lab = Lab(store, fake_server)
    view = lab.answer()
    with store.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    view = lab.ask("rebut")
    with store.write() as session:
        candidate = view.candidates[0]
        pick(session, lab.id, lab.here, candidate.event_id, candidate.place, lab.by)
    with store.read() as session:
        assert [node.depth for node in read_export(session, lab.id).tree.nodes] == [0, 1]
        assert figures(session, lab.id).questions == 2
        (listed,) = list_dialogues(session)
        (proposal,) = read_proposals(session, [1]).proposals
    assert (listed.n_nodes, listed.n_answered) == (2, 1)
    assert proposal.chosen == (candidate.text,)


def test_queues_are_made_and_filled_as_a_table_on_it(store: Database) -> None:
    seeded = seed_store(store)
    spec = QueueSpec(name="table", way="table", sweep=seeded.sweep_id, leave_out=())
    with store.write() as session:
        built = build_queue(session, spec)
        queue = get_queue(session, save_queue(session, built))
        rater = ensure_rater(session, "Aki")
        assert power_estimate(session, built, registry_of(session)).separable == ()
        item = table_page(session, queue, rater, 1, 20).rows[0].item
    save_table(store, queue, rater, {item.id: CardRating(values={"clear": 5})})
    save_table(store, queue, rater, {item.id: CardRating(values={"clear": 1})})
    with store.read() as session:
        assert table_page(session, queue, rater, 1, 20).rows[0].rated.values == {"clear": 1.0}
        disliked = list_texts(session, TextFilter(liking="disliked"))
        assert [row.id for row in disliked.rows] == [item.target.variant_id]
        assert list_texts(session, TextFilter(liking="unrated", kind="variant")).total == 23
