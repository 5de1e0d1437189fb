"""Plans: slots are counted, never listed, and a run makes exactly as many rows."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from db.database import Database
from db.errors import UsageError
from db.identity import question_hash, text_hash
from db.tables import Question, ReasoningVariant
from serving.engine.client import ServedModel
from serving.engine.messages import (
    Capabilities,
    Choice,
    CompletionRequest,
    CompletionResult,
    EngineLoad,
)
from serving.sweeps.plan import SweepPlan, plan_sweep
from serving.sweeps.run import run_sweep
from serving.sweeps.slots import count_slots, passes_over
from serving.sweeps.spec import parse_spec
from tests.fakes.engines import FixedEngines
from tests.unit import sweep_lab as lab


def plan(database: Database, **spec: Any) -> SweepPlan:
    registry = lab.registry_of(database)
    with database.read() as session:
        parsed = parse_spec({"name": "lab", "formats": ["tagged@1"], **spec})
        return plan_sweep(session, parsed, registry)


def add_variants(database: Database, question_id: int, *texts: str) -> None:
    with database.write() as session:
        session.add_all(
            ReasoningVariant(
                question_id=question_id, text=text, source="human", content_hash=text_hash(text)
            )
            for text in texts
        )


def test_a_level_has_k_reasonings_and_k_times_n_answers(database: Database) -> None:
    lab.fill(database, 3)
    counted = plan(database, variants=4, answers=2, answer_sampling=[{}, {"temperature": 0}])
    assert (counted.n_reasoning_slots, counted.n_answer_slots) == (3 * 4, 3 * 4 * 2 * 2)
    assert counted.requests == 3 + 3 * 4 * 2


def test_rationalise_counts_questions_without_reference_answer_out(database: Database) -> None:
    lab.fill(database, 5)
    counted = plan(database, modes=["rationalise"], variants=2, answers=0)
    assert counted.cells == 3 * 2
    assert "leaves out 2 of 5 questions" in counted.warnings[0]


def test_ensemble_takes_every_pair_and_supplied_every_variant(database: Database) -> None:
    lab.fill(database, 2)
    add_variants(database, 1, "a", "b", "c")
    counted = plan(
        database,
        modes=["ensemble", "supplied"],
        reasonings={"ids": ["1-2", 3]},
        variants=2,
        answers=3,
    )
    assert counted.n_reasoning_slots == 3 * 2
    assert counted.n_answer_slots == 3 * 2 * 3 + 3 * 3
    assert len(counted.warnings) == 2


def test_a_role_given_twice_by_way_of_the_question_counts_once(database: Database) -> None:
    lab.fill(database, 3)  # two assistants, one translator
    counted = plan(database, roles=["question", "assistant"], variants=1, answers=0)
    assert counted.cells == 2 + 2


def test_a_million_slots_are_counted_without_being_made(database: Database) -> None:
    lab.fill(database, 0)
    with database.write() as session:
        session.execute(
            insert(Question),
            [
                {"text": f"q {i}", "content_hash": question_hash(f"q {i}"), "source": "example"}
                for i in range(50_000)
            ],
        )
    counted = plan(database, variants=4, answers=4)
    assert counted.cells == 1_000_000
    assert lab.scalar(database, "SELECT count(*) FROM generation") == 0


def test_without_history_the_upper_bound_is_said(database: Database) -> None:
    lab.fill(database, 1)
    counted = plan(database, variants=1, answers=1, answer_sampling=[{"max_tokens": 100}])
    assert (counted.expected_tokens, counted.is_upper_bound) == (512 + 100, True)
    assert counted.expected_s is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"questions": {"ids": [99]}}, "there is no q99"),
        ({"questions": {"ids": ["3-99"]}}, "questions.ids: there is nothing in 3-99"),
        ({"questions": {"tags": ["none"]}}, "No question fits"),
        ({"questions": {"categories": ["none"]}}, "No question fits"),
        ({"models": ["nobody"]}, "There is no model 'nobody'"),
        ({"models": ["fake", "m1"]}, "names one model twice"),
        ({"formats": ["tagged", "tagged@1"]}, "names one format twice"),
        ({"formats": ["tagt"]}, "There is no prompt format 'tagt'"),
        ({"roles": ["pirate"]}, "There is no role 'pirate'"),
        (
            {"modes": ["supplied"], "reasonings": {"checks_absent": ["odd"]}},
            "there is no check 'odd'",
        ),
        ({"modes": ["supplied"], "reasonings": {"search": "x"}}, "There is nothing to run"),
    ],
)
def test_what_is_not_there_is_named(database: Database, spec: dict[str, Any], said: str) -> None:
    lab.fill(database, 2)
    with pytest.raises(UsageError, match=said):
        plan(database, **spec)


def test_questions_of_a_file_must_have_been_imported(database: Database, tmp_path: Path) -> None:
    lab.fill(database, 2)
    file = tmp_path / "questions.csv"
    file.write_text("instruction\nWhat is the colour of thing number 0?\n")
    assert plan(database, questions={"file": str(file)}).n_questions == 1
    file.write_text("instruction\nWho?\nWhat is the colour of thing number 0?\n")
    with pytest.raises(UsageError, match="1 of the 2 questions"):
        plan(database, questions={"file": str(file)})


def test_models_that_cannot_be_served_together_have_their_turns(database: Database) -> None:
    lab.fill(database, 1, models=("a", "b"))
    crossed = plan(database, models=["a", "b"], answer_models=["a", "b"]).resolved
    passes = passes_over(crossed, [frozenset({1}), frozenset({2})])
    assert [(set(p.models), set(p.writes), set(p.earlier)) for p in passes] == [
        ({1}, {1}, set()),
        ({2}, {2}, {1}),
        ({1}, set(), {2}),
    ]
    own = plan(database, models=["a", "b"]).resolved
    assert len(passes_over(own, [frozenset({1}), frozenset({2})])) == 2


class InstantClient:
    """Answers at once, in this process."""

    async def complete(self, request: CompletionRequest) -> CompletionResult:
        choices = tuple(
            Choice(
                prompt_index=p,
                choice_index=c,
                text=f"You should look {c}.",
                finish_reason="stop",
                stop_reason=None,
                completion_tokens=3,
                prompt_tokens=5,
            )
            for p, c in itertools.product(range(len(request.prompts)), range(request.n))
        )
        return CompletionResult(
            choices=choices,
            missing=(),
            latency_ms=1.0,
            server_version=None,
            request_id=request.request_id,
            attempts=1,
        )

    async def metrics(self) -> EngineLoad | None:
        return None

    async def health(self) -> bool:
        return True


MODES = st.lists(
    st.sampled_from(["reasoning", "supplied", "vanilla", "rationalise", "ensemble"]),
    min_size=1,
    max_size=4,
    unique=True,
)
LEVELS = st.sampled_from([[{}], [{}, {"temperature": 0}]])


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    modes=MODES,
    roles=st.sampled_from([["question"], ["question", "assistant"], ["creator", "logician"]]),
    crossed=st.sampled_from([None, ["b"], ["a", "b"]]),
    writers=st.sampled_from([["a"], ["a", "b"]]),
    together=st.booleans(),
    k=st.integers(1, 2),
    n=st.integers(1, 2),
    reasoning_levels=LEVELS,
    answer_levels=LEVELS,
)
async def test_a_run_makes_as_many_rows_as_its_plan_counts(
    database: Database,
    modes: list[str],
    roles: list[str],
    crossed: list[str] | None,
    writers: list[str],
    together: bool,
    k: int,
    n: int,
    reasoning_levels: list[Any],
    answer_levels: list[Any],
) -> None:
    if lab.scalar(database, "SELECT count(*) FROM question") == 0:
        lab.fill(database, 3, models=("a", "b"))
        add_variants(database, 1, "You should look.", "You should look.", "You should count.")
    with_existing = {"supplied", "ensemble"} & set(modes)
    sweep_id = lab.save(
        database,
        modes=modes,
        roles=roles,
        models=writers,
        answer_models=crossed,
        variants=k,
        answers=n,
        reasoning_sampling=reasoning_levels,
        answer_sampling=answer_levels,
        **({"reasonings": {"ids": [1, 2, 3]}} if with_existing else {}),
    )
    client = InstantClient()
    engines = FixedEngines(
        [
            ServedModel(
                model_version_id=i,
                engine_id=1,
                client=client,
                served_name=name,
                tokenizer=None,
                context_length=None,
                capabilities=Capabilities(metrics=False),
                max_num_seqs=16,
                engine_version="vllm",
            )
            for i, name in enumerate(("a", "b"), 1)
        ],
        together=together,
    )
    outcome = await run_sweep(database, sweep_id, engines)
    assert (outcome.state, outcome.done, outcome.error) == ("done", outcome.cells, None)
    links = lab.scalar(
        database, f"SELECT count(*) FROM sweep_generation WHERE sweep_id = {sweep_id}"
    )
    assert links == outcome.cells


def test_the_plan_frozen_with_a_sweep_counts_the_same(database: Database) -> None:
    lab.fill(database, 3)
    counted = plan(database, modes=["reasoning", "vanilla"])
    stored = type(counted.resolved).model_validate(counted.resolved.model_dump(mode="json"))
    assert count_slots(stored).cells == counted.cells
