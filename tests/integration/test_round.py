"""A whole small round through the worker: real training behind it, a real merge and its proof, real
vLLM, a real comparison.

Its run is the one that the tests of training made, so that nothing is trained twice: a round that
was killed after its training finds the run done and goes on.
"""

import shutil
import sys
from pathlib import Path

import pytest

from db.database import Database, open_database
from db.lineage.read import lineage
from db.models import get_model, mark_pruned, proof_of
from db.rounds import RoundRow, find_round, move_round
from db.settings import Settings
from tests.training_fixture import TrainedAdapter
from training.merge.merge import drop_weights
from workbench.rounds.comparison import compare_round
from workbench.rounds.report import round_page
from workbench.rounds.spec import RoundSpec, load_round, parse_round
from workbench.rounds.start import begin_round, queue_round
from workbench.worker import run_job

pytestmark = pytest.mark.training
EXAMPLE = Path(__file__).parents[2] / "examples" / "rounds" / "first.yaml"
"""What ``q2q round run examples/rounds/first.yaml`` runs."""


def copied(trained: TrainedAdapter, home: Path) -> tuple[Settings, Database]:
    """Return a home with what was trained, and its store."""
    shutil.copytree(trained.settings.home_dir, home)
    changes = {"home": home, "max_model_len": 512, "max_num_seqs": 64}
    settings = trained.settings.model_copy(update=changes)
    return settings, open_database(f"sqlite:///{home / 'q2q.sqlite'}")


def spec_of(**changes: object) -> RoundSpec:
    """Return the example round, asked greedily, once."""
    asked: dict[str, object] = {"questions": {"held_out": True, "limit": 20}, "variants": 1}
    asked |= {"max_tokens": 100, "temperature": 0}
    asked["scores"] = False  # tests of scoring have a server at hand
    config = load_round(EXAMPLE).as_config() | {"dataset": "english-examples", "compare": asked}
    return parse_round(config | changes)


def begun(trained: TrainedAdapter, settings: Settings, database: Database) -> RoundRow:
    """Return the round as it was when it was killed, its training done."""
    found = begin_round(database, settings, spec_of())
    with database.write() as session:
        return move_round(session, found.id, training_run_id=trained.outcome.run_id)


def run(settings: Settings, database: Database, found: RoundRow) -> None:
    """Run what is left of a round."""
    with database.write() as session:
        job_id = queue_round(session, found.id, approved=True)
    job = run_job(settings, database, job_id, lambda *_: None, command="round run")
    assert job.error is None
    sys.stdout.write(f"{job.result}\n")


def test_a_round_is_trained_merged_proved_asked_and_compared_with_its_base(
    trained_adapter: TrainedAdapter, tmp_path: Path
) -> None:
    settings, database = copied(trained_adapter, tmp_path / "home")
    try:
        run(settings, database, begun(trained_adapter, settings, database))
        with database.read() as session:
            ended = find_round(session, "first")
            assert ended.merged_model_version_id is not None
            made = get_model(session, ended.merged_model_version_id)
            proof = proof_of(session, made.id)
            comparison = compare_round(session, ended)
            page = round_page(session, "first")
    finally:
        database.close()
    assert (ended.step, ended.state) == ("ended", "done")
    assert (made.kind, made.state, made.name) == ("merged", "ready", "round1-merged")
    assert proof is not None
    assert proof.passed
    base, trained = (
        {one.language: one.found.value for one in model.well_formed_by_language}
        for model in comparison.models
    )
    sys.stdout.write(f"well-formed, by language: base {base}, round {trained}\n")
    assert base["en"] < 0.5
    assert trained["en"] >= 0.95, "of the English questions"
    assert trained["ja"] > base["ja"], "what it learned in English helps in Japanese"
    assert ended.verdict in ("keep", "branch", "not_enough_questions")
    assert "round1-merged" in page


@pytest.mark.soak
def test_a_second_round_goes_on_from_the_first_whose_merge_was_pruned(
    trained_adapter: TrainedAdapter, tmp_path: Path
) -> None:
    settings, database = copied(trained_adapter, tmp_path / "home")
    few = {"held_out": True, "limit": 4}
    asked = {"questions": few, "variants": 1, "max_tokens": 60, "temperature": 0}
    try:
        run(settings, database, begun(trained_adapter, settings, database))
        with database.read() as session:
            first = find_round(session, "first")
            merged = get_model(session, first.merged_model_version_id or 0)
        drop_weights(merged)
        with database.write() as session:
            mark_pruned(session, merged.id)
        settings_of = {"preset": "laptop", "max_steps": 2, "warmup": 0, "samples": 0}
        spec = spec_of(name="second", compare=asked, train=settings_of, **{"from": "first"})
        run(settings, database, begin_round(database, settings, spec))
        with database.read() as session:
            second = find_round(session, "second")
            again = get_model(session, merged.id)
            made = get_model(session, second.merged_model_version_id or 0)
            proof = proof_of(session, made.id)
            up = {group.relation for group in lineage(session, f"m{made.id}").up}
    finally:
        database.close()
    assert second.parent_id == first.id
    assert (again.state, again.digest) == ("ready", merged.digest)
    assert (made.state, made.base_id) == ("ready", merged.id)
    assert proof is not None
    assert proof.passed
    assert "merged_from" in up
