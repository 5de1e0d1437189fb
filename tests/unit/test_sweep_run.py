"""Running sweeps against the fake server: what is sent, shared, resumed and retried."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from db.database import Database
from db.sweeps import get_sweep
from serving.engine.messages import Capabilities
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.run import Progress, run_sweep
from tests.fakes.behaviours import prompts_of
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab


def choices(server: FakeServer) -> int:
    """Return how many completions the server was asked for."""
    return sum(
        int(body["n"]) * (len(body["prompt"]) if isinstance(body["prompt"], list) else 1)
        for body in server.requests
    )


async def test_every_slot_becomes_one_row_that_knows_where_it_came_from(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database)
    sweep_id = lab.save(database, variants=2, answers=3)
    outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert (outcome.state, outcome.cells, outcome.done) == ("done", 24, 24)
    assert (outcome.variants, outcome.answers) == (6, 18)
    lab.assert_every_slot_once(database, sweep_id, 24)
    assert choices(fake_server) == 24
    unknown = (
        "SELECT count(*) FROM generation WHERE prompt_id IS NULL OR request_id IS NULL"
        " OR latency_ms IS NULL OR completion_tokens IS NULL OR engine_version IS NULL"
        " OR engine_id IS NULL OR finish_reason IS NULL"
    )
    assert lab.scalar(database, unknown) == 0
    assert outcome.completion_tokens > 0
    assert lab.scalar(database, "SELECT count(*) FROM search_text WHERE kind = 'answer'") == 18
    assert lab.scalar(database, "SELECT state FROM sweep") == "done"


async def test_running_a_finished_sweep_again_sends_nothing(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database)
    sweep_id = lab.save(database, variants=2, answers=1)
    first = await lab.run(database, sweep_id, fake_server.endpoint)
    sent = fake_server.count
    again = await lab.run(database, sweep_id, fake_server.endpoint)
    assert (again.done, fake_server.count) == (first.done, sent)


async def test_raising_k_and_n_runs_only_what_is_missing(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database)
    small = lab.save(database, variants=2, answers=1)
    await lab.run(database, small, fake_server.endpoint)
    before = choices(fake_server)
    large = lab.save(database, variants=3, answers=2)
    outcome = await lab.run(database, large, fake_server.endpoint)
    assert outcome.done == 3 * (3 + 3 * 2)
    assert choices(fake_server) - before == outcome.done - 3 * (2 + 2 * 1)
    lab.assert_every_slot_once(database, large, outcome.done)
    shared = f"SELECT count(*) FROM sweep_generation WHERE sweep_id = {large} AND NOT made_here"
    assert lab.scalar(database, shared) == 12


async def test_adding_a_level_keeps_the_old_one(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 2)
    await lab.run(database, lab.save(database, variants=2, answers=1), fake_server.endpoint)
    before = choices(fake_server)
    wider = lab.save(database, variants=2, answers=1, reasoning_sampling=[{}, {"temperature": 0.2}])
    await lab.run(database, wider, fake_server.endpoint)
    assert choices(fake_server) - before == 2 * (2 + 2)


async def test_two_sweeps_at_once_share_what_both_need(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.latency_s = 0.02
    lab.fill(database)
    sweeps = [lab.save(database, variants=3, answers=2) for _ in range(2)]
    async with lab.fixed_engines(fake_server.endpoint) as engines:
        outcomes = await asyncio.gather(*(run_sweep(database, s, engines) for s in sweeps))
    for sweep_id, outcome in zip(sweeps, outcomes, strict=True):
        assert (outcome.state, outcome.done) == ("done", 27)
        lab.assert_every_slot_once(database, sweep_id, 27)
    assert choices(fake_server) == 27


async def test_answers_of_a_question_go_out_before_the_last_reasonings(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.latency_s = 0.2
    lab.fill(database, 16)
    sweep_id = lab.save(database, variants=2, answers=1)
    await lab.run(database, sweep_id, fake_server.endpoint, max_num_seqs=2)
    first_answer = lab.scalar(database, "SELECT min(id) FROM generation WHERE kind = 'answer'")
    later = f"SELECT count(*) FROM generation WHERE kind = 'reasoning' AND id > {first_answer}"
    assert lab.scalar(database, later) >= 8


@pytest.mark.parametrize("can_n", [True, False])
async def test_replicate_j_is_drawn_with_seed_plus_j(
    database: Database, fake_server: FakeServer, can_n: bool
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, variants=3, answers=2, seed=100)
    can = Capabilities(n=can_n)
    async with lab.fixed_engines(fake_server.endpoint, capabilities=can) as engines:
        await run_sweep(database, sweep_id, engines)
    seeds = lab.rows(database, "SELECT DISTINCT replicate, seed FROM generation ORDER BY 1")
    assert seeds == [(0, 100), (1, 101), (2, 102)]
    sent: Counter[tuple[int, int]] = Counter()  # prompts: those of one seed may share a request
    for body in fake_server.requests:
        sent[body["seed"], body["n"]] += len(prompts_of(body["prompt"]))
    if can_n:
        assert sent == {(100, 3): 1, (100, 2): 3}
    else:
        assert sent == {(100, 1): 4, (101, 1): 4, (102, 1): 1}


async def test_seeds_do_not_count_up_on_servers_that_are_not_vllm(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, variants=2, answers=0, seed=5)
    async with lab.fixed_engines(fake_server.endpoint, engine_version="other 1") as engines:
        await run_sweep(database, sweep_id, engines)
    assert sorted((body["seed"], body["n"]) for body in fake_server.requests) == [(5, 1), (6, 1)]


async def test_a_server_without_seeds_is_refused_with_a_sentence(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, seed=5)
    async with lab.fixed_engines(
        fake_server.endpoint, capabilities=Capabilities(seed=False)
    ) as engines:
        outcome = await run_sweep(database, sweep_id, engines)
    assert outcome.state == "failed"
    assert "does not honour seeds" in (outcome.error or "")


async def test_without_seed_none_is_sent(database: Database, fake_server: FakeServer) -> None:
    lab.fill(database, 1)
    await lab.run(database, lab.save(database, variants=1, answers=1), fake_server.endpoint)
    assert all("seed" not in body for body in fake_server.requests)


async def test_prompts_are_sent_as_ids_where_a_tokenizer_is_known(
    database: Database, fake_server: FakeServer, embedded_model: Path
) -> None:
    lab.fill(database, 1)
    tokenizer = PromptTokenizer.load(embedded_model)
    sweep_id = lab.save(database, formats=["chat@1"], variants=1, answers=1)
    outcome = await lab.run(database, sweep_id, fake_server.endpoint, tokenizer=tokenizer)
    assert outcome.done == 2
    assert all(isinstance(body["prompt"][0], int) for body in fake_server.requests)
    stored = lab.rows(database, "SELECT n_tokens, length(token_ids), text FROM prompt")
    assert all(n * 4 == size and text for n, size, text in stored)


async def test_a_format_that_needs_a_chat_template_stops_the_sweep_where_there_is_none(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, formats=["chat@1"])
    outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert outcome.state == "failed"
    assert "chat template" in (outcome.error or "")
    assert fake_server.count == 0


async def test_a_too_long_prompt_is_a_failed_row_and_no_request(
    database: Database, fake_server: FakeServer, embedded_model: Path
) -> None:
    lab.fill(database, 2)
    sweep_id = lab.save(database, variants=2, answers=3, reasoning_sampling=[{"max_tokens": 90}])
    tokenizer = PromptTokenizer.load(embedded_model)
    outcome = await lab.run(
        database, sweep_id, fake_server.endpoint, tokenizer=tokenizer, context_length=100
    )
    assert (outcome.state, outcome.failed, outcome.blocked) == ("done", 4, 12)
    assert fake_server.count == 0
    error = lab.scalar(database, "SELECT error FROM generation")
    assert "max_tokens is 90, but fake takes 100 in all; lower max_tokens to at most" in error


async def test_vanilla_supplied_and_ensemble_start_from_what_they_should(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 1)
    first = lab.save(database, variants=2, answers=1)
    await lab.run(database, first, fake_server.endpoint)
    second = lab.save(
        database,
        modes=["vanilla", "supplied", "ensemble"],
        reasonings={"sweep": first},
        variants=1,
        answers=2,
    )
    outcome = await lab.run(database, second, fake_server.endpoint)
    assert (outcome.variants, outcome.answers) == (1, 2 + 2 * 2 + 2)
    assert lab.rows(database, "SELECT variant_id, parent_id FROM variant_parent ORDER BY 2") == [
        (3, 1),
        (3, 2),
    ]
    plain = "SELECT count(*) FROM answer WHERE variant_id IS NULL"
    assert lab.scalar(database, plain) == 2
    # one answer under each variant was there already: the same prompt, model and sampling
    assert choices(fake_server) == 4 + 9 - 2


async def test_replicates_share_a_list_of_prompts_and_with_a_seed_a_request_with_n(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 2)
    sweep_id = lab.save(database, modes=["vanilla"], answers=4)
    outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert outcome.done == 8
    assert {body["n"] for body in fake_server.requests} == {1}
    assert sum(len(body["prompt"]) for body in fake_server.requests) == 8
    places = lab.rows(database, "SELECT replicate, choice_index FROM generation")
    assert all(replicate == choice for replicate, choice in places)
    fake_server.requests.clear()
    seeded = lab.save(database, modes=["vanilla"], answers=4, seed=7)
    assert (await lab.run(database, seeded, fake_server.endpoint)).done == 8
    assert {body["n"] for body in fake_server.requests} == {4}


async def test_reasonings_of_a_file_are_stored_with_the_sweep(
    database: Database, fake_server: FakeServer, tmp_path: Path
) -> None:
    lab.fill(database, 2)
    file = tmp_path / "reasonings.csv"
    file.write_text("question_id,reasoning\nq1,You should look up.\nq1,You should look down.\n")
    sweep_id = lab.save(database, modes=["supplied"], answers=2, reasonings={"file": str(file)})
    outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert (outcome.cells, outcome.done) == (4, 4)
    assert any("You should look down." in str(body["prompt"]) for body in fake_server.requests)


@pytest.mark.parametrize("together", [True, False])
async def test_one_model_can_answer_from_the_reasonings_of_another(
    database: Database, fake_server: FakeServer, together: bool
) -> None:
    fake_server.models = ("writer", "answerer")
    lab.fill(database, 2, models=("writer", "answerer"))
    sweep_id = lab.save(
        database, models=["writer"], answer_models=["writer", "answerer"], variants=2, answers=1
    )
    outcome = await lab.run(
        database, sweep_id, fake_server.endpoint, "writer", "answerer", together=together
    )
    assert (outcome.state, outcome.done) == ("done", 2 * (2 + 2 * 2))
    made = lab.rows(
        database, "SELECT kind, model_version_id, count(*) FROM generation GROUP BY 1,2"
    )
    assert sorted(made) == [("answer", 1, 4), ("answer", 2, 4), ("reasoning", 1, 4)]


async def test_progress_ends_with_everything_counted(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database)
    seen: list[Progress] = []
    sweep_id = lab.save(database, variants=2, answers=1)
    await lab.run(database, sweep_id, fake_server.endpoint, on_progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (12, 12)
    assert not any("other workers" in one.message for one in seen), "it has the sweep to itself"


async def test_a_run_that_finds_all_done_tells_that_all_is_done(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database)
    sweep_id = lab.save(database, variants=2, answers=1)
    await lab.run(database, sweep_id, fake_server.endpoint)
    seen: list[Progress] = []
    await lab.run(database, sweep_id, fake_server.endpoint, on_progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (12, 12)


async def test_a_cancelled_sweep_keeps_what_arrived_and_resumes(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.latency_s = 0.05
    lab.fill(database, 20)
    sweep_id = lab.save(database, variants=3, answers=2)
    cancelled = asyncio.Event()

    def cancel_soon(progress: Progress) -> None:
        if progress.done:
            cancelled.set()

    outcome = await lab.run(
        database,
        sweep_id,
        fake_server.endpoint,
        max_num_seqs=4,
        cancelled=cancelled,
        on_progress=cancel_soon,
    )
    assert outcome.state == "cancelled"
    assert 0 < outcome.done < outcome.cells
    fake_server.latency_s = 0
    resumed = await lab.run(database, sweep_id, fake_server.endpoint)
    assert (resumed.state, resumed.done) == ("done", resumed.cells)
    lab.assert_every_slot_once(database, sweep_id, resumed.cells)


async def test_an_interactive_sweep_is_sent_first_and_does_not_wait(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.latency_s = 0.1
    lab.fill(database, 30)
    long_one = lab.save(database, variants=4, answers=2, questions={"limit": 29})
    quick_one = lab.save(database, variants=1, answers=1, questions={"ids": ["q30"]})
    async with lab.fixed_engines(fake_server.endpoint, max_num_seqs=2) as engines:
        background = asyncio.create_task(run_sweep(database, long_one, engines))
        while not fake_server.count:
            await asyncio.sleep(0.01)
        outcome = await run_sweep(database, quick_one, engines, priority=-10)
        assert (outcome.done, background.done()) == (2, False)
        background.cancel()
        with pytest.raises(asyncio.CancelledError):
            await background
    assert [body for body in fake_server.requests if body.get("priority") == -10]
    with database.read() as session:
        assert get_sweep(session, long_one).state == "cancelled"


async def test_a_running_sweep_makes_way_for_a_person_and_takes_its_room_back(
    database: Database, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.engine.limiter.INTERACTIVE_LINGER_S", 0.2)
    fake_server.latency_s = 0.4
    lab.fill(database, 61)
    long_one = lab.save(database, variants=4, answers=1, questions={"limit": 60})
    quick_one = lab.save(database, variants=1, answers=1, questions={"ids": ["q61"]})
    async with lab.fixed_engines(fake_server.endpoint, max_num_seqs=64) as engines:
        background = asyncio.create_task(run_sweep(database, long_one, engines))
        while fake_server.in_flight < 16:
            await asyncio.sleep(0.01)
        before = fake_server.in_flight
        person = asyncio.create_task(run_sweep(database, quick_one, engines, priority=-10))
        async with asyncio.timeout(10):  # the server notices each closed connection by itself
            while not fake_server.cancelled or fake_server.in_flight >= before / 2:
                await asyncio.sleep(0.005)
        assert not background.done()
        assert (await person).done == 2
        outcome = await background
    assert (outcome.state, outcome.done, outcome.failed) == ("done", outcome.cells, 0)
    lab.assert_every_slot_once(database, long_one, outcome.cells)
    assert fake_server.peak >= before


async def test_requests_carry_several_prompts_where_the_server_takes_many(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 60)
    sweep_id = lab.save(database, variants=1, answers=0)
    await lab.run(database, sweep_id, fake_server.endpoint, max_num_seqs=1024)
    sizes = [len(b["prompt"]) for b in fake_server.requests if isinstance(b["prompt"], list)]
    assert sizes
    assert max(sizes) > 8


async def test_a_question_that_is_gone_is_no_false_done(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 2)
    sweep_id = lab.save(database, variants=1, answers=0)

    with database.write() as session:
        session.execute(text("DELETE FROM question WHERE id = 2"))
    outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert (outcome.state, outcome.done) == ("failed", 1)
    assert "1 slots could not be run" in (outcome.error or "")
