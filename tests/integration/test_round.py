"""A whole small round through the worker: real training behind it, a real merge and its proof, real
vLLM, a real comparison.

Its run is the one that the tests of training made, so that nothing is trained twice: a round that
was killed after its training finds the run done and goes on.
"""

import shutil
from pathlib import Path

import pytest

from db.database import open_database
from db.merges import proof_of
from db.models import get_model
from db.rounds import find_round, move_round
from tests.training_fixture import TrainedAdapter
from training.rounds.spec import load_round
from workbench.analysis.rounds import compare
from workbench.rounds.beginning import begin_round, queue_round
from workbench.rounds.reporting import round_page
from workbench.worker.follow import run_job

pytestmark = pytest.mark.engine
EXAMPLE = Path(__file__).parents[2] / "examples" / "rounds" / "first.yaml"
"""What ``q2q round run examples/rounds/first.yaml`` runs."""


def test_a_round_is_trained_merged_proved_asked_and_compared_with_its_base(
    trained_adapter: TrainedAdapter, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(trained_adapter.settings.home_dir, home)
    settings = trained_adapter.settings.model_copy(
        update={"home": home, "max_model_len": 512, "max_num_seqs": 16}
    )
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    example = load_round(EXAMPLE).as_config()
    asked = {"questions": {"held_out": True}, "variants": 1}
    spec = load_round(EXAMPLE).model_validate(
        example
        | {"dataset": "english-examples", "compare": asked | {"max_tokens": 120, "temperature": 0}}
    )
    try:
        found = begin_round(database, settings, spec)
        with database.write() as session:
            run_id = trained_adapter.outcome.run_id
            move_round(session, found.id, training_run_id=run_id)
            job_id = queue_round(session, found.id, approved=True)
        job = run_job(settings, database, job_id, lambda *_: None, command="round run")
        assert job.error is None
        with database.read() as session:
            ended = find_round(session, "first")
            assert ended.sweep_id is not None
            assert ended.merged_model_version_id is not None
            made = get_model(session, ended.merged_model_version_id)
            proof = proof_of(session, made.id)
            comparison = compare(session, ended.sweep_id, [ended.starts_from_id])
            page = round_page(session, "first")
    finally:
        database.close()
    assert (ended.step, ended.state) == ("ended", "done")
    assert (made.kind, made.state, made.name) == ("merged", "ready", "round1-merged")
    assert proof is not None
    assert proof.passed
    print(*(f"{check.name}: {check.detail}" for check in proof.checks), sep="\n")
    base, trained = (
        {language: share.value for language, share, _ in model.well_formed_by_language}
        for model in comparison.models
    )
    print("well-formed:", base, "->", trained)
    assert base["en"] < 0.5
    assert trained["en"] >= 0.95
    assert ended.verdict in ("keep", "branch")
    assert "round1-merged" in page
