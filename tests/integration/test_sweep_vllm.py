"""A real sweep: SmolLM2 on the shared vLLM server, every text with its whole past."""

import asyncio
import time

import pytest

from db.database import Database
from serving.engine.client import CompletionClient
from serving.engine.messages import CompletionRequest, SamplingParameters
from serving.engine.probe import probe
from serving.formats.definitions import PromptFields, Task
from serving.formats.render import render
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.run import Progress, run_sweep
from tests.engine_fixture import VllmServer
from tests.fakes.engines import FixedEngines
from tests.unit import sweep_lab as lab

pytestmark = pytest.mark.engine

SHORT = [{"temperature": 0.8, "max_tokens": 24}]


async def sweep(
    database: Database, server: VllmServer, sweep_id: int, **options: object
) -> lab.SweepOutcome:
    async with CompletionClient(server.endpoint, timeout_s=120) as client:
        model = lab.served(
            client,
            name=server.model,
            tokenizer=PromptTokenizer.load(server.folder),
            context_length=server.context_length,
            max_num_seqs=32,
        )
        running = run_sweep(database, sweep_id, FixedEngines([model]), **options)  # type: ignore[arg-type]
        return await asyncio.wait_for(running, 300)


async def test_reasonings_and_answers_of_a_real_model_fill_every_slot(
    database: Database, vllm_server: VllmServer
) -> None:
    lab.fill(database, 3)
    sweep_id = lab.save(
        database,
        formats=["chat@1", "tagged@1"],
        modes=["reasoning", "vanilla", "rationalise"],
        variants=2,
        answers=2,
        reasoning_sampling=SHORT,
        answer_sampling=SHORT,
    )
    outcome = await sweep(database, vllm_server, sweep_id)
    assert (outcome.state, outcome.done, outcome.error) == ("done", outcome.cells, None)
    lab.assert_every_slot_once(database, sweep_id, outcome.cells)
    assert lab.scalar(database, "SELECT count(DISTINCT text) FROM reasoning_variant") > 4
    unknown = (
        "SELECT count(*) FROM generation g JOIN prompt p ON p.id = g.prompt_id"
        " WHERE p.token_ids IS NULL OR g.prompt_tokens <> p.n_tokens"
        " OR g.completion_tokens IS NULL OR g.engine_version IS NULL OR g.finish_reason IS NULL"
    )
    assert lab.scalar(database, unknown) == 0
    assert lab.scalar(database, "SELECT max(completion_tokens) FROM generation") <= 24


async def test_with_a_seed_replicates_differ_and_count_up(
    database: Database, vllm_server: VllmServer
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(
        database,
        formats=["chat@1"],
        variants=3,
        answers=0,
        seed=11,
        reasoning_sampling=SHORT,
    )
    await sweep(database, vllm_server, sweep_id)
    seeds = lab.rows(database, "SELECT seed, text FROM generation ORDER BY replicate")
    assert [seed for seed, _ in seeds] == [11, 12, 13]
    assert len({text for _, text in seeds}) == 3


async def test_seeded_prompts_that_do_not_fit_one_step_leave_the_server_well(
    vllm_server: VllmServer,
) -> None:
    prompts = [[504 + i] * 900 for i in range(6)]
    sampling = SamplingParameters(temperature=0.8, max_tokens=4)
    async with CompletionClient(vllm_server.endpoint, timeout_s=120) as client:
        request = CompletionRequest(
            model=vllm_server.model, prompts=prompts, sampling=sampling, seed=3
        )
        result = await client.complete(request)
        assert (len(result.choices), result.missing) == (6, ())
        assert await client.health()


async def test_a_cancelled_sweep_frees_the_server_and_resumes(
    database: Database, vllm_server: VllmServer
) -> None:
    lab.fill(database, 12)
    sweep_id = lab.save(
        database,
        formats=["chat@1"],
        variants=2,
        answers=1,
        reasoning_sampling=SHORT,
        answer_sampling=SHORT,
    )
    cancelled = asyncio.Event()

    def cancel_soon(progress: Progress) -> None:
        if progress.done:
            cancelled.set()

    outcome = await sweep(
        database, vllm_server, sweep_id, cancelled=cancelled, on_progress=cancel_soon
    )
    assert outcome.state == "cancelled"
    async with CompletionClient(vllm_server.endpoint) as client:
        deadline = time.monotonic() + 30
        while (load := await client.metrics()) is not None and load.running + load.waiting:
            assert time.monotonic() < deadline, "the server still works for a cancelled sweep"
            await asyncio.sleep(0.1)
    resumed = await sweep(database, vllm_server, sweep_id)
    assert (resumed.state, resumed.done) == ("done", resumed.cells)
    lab.assert_every_slot_once(database, sweep_id, resumed.cells)


async def test_a_sweep_goes_through_the_servers_own_chat_endpoint(
    database: Database, vllm_server: VllmServer
) -> None:
    lab.fill(database, 2)
    sweep_id = lab.save(
        database,
        formats=["chat@1"],
        roles=["question", "creator"],
        variants=2,
        answers=1,
        reasoning_sampling=SHORT,
        answer_sampling=SHORT,
    )
    found = await probe(vllm_server.endpoint, model=vllm_server.model)
    assert found.capabilities.chat
    async with CompletionClient(found.endpoint(vllm_server.endpoint), timeout_s=120) as client:
        # Without its tokenizer, only the server knows its chat template.
        model = lab.served(client, name=vllm_server.model, context_length=1024)
        assert model.takes_messages
        running = run_sweep(database, sweep_id, FixedEngines([model]))
        outcome = await asyncio.wait_for(running, 300)
    assert (outcome.state, outcome.done, outcome.error) == ("done", 2 * 2 * 4, None)
    lab.assert_every_slot_once(database, sweep_id, outcome.cells)
    tokenizer = PromptTokenizer.load(vllm_server.folder)
    form = lab.registry_of(database).format("chat@1").definition
    rows = lab.rows(
        database,
        "SELECT p.text, p.token_ids, g.prompt_tokens, r.system, q.text, v.text FROM generation g"
        " JOIN prompt p ON p.id = g.prompt_id JOIN role r ON r.id = g.role_id"
        " JOIN question q ON q.id = g.question_id"
        " LEFT JOIN reasoning_variant v ON v.id = g.variant_id",
    )
    for prompt, token_ids, n_tokens, system, question, reasoning in rows:
        task: Task = "reasoning" if reasoning is None else "answer"
        fields = PromptFields(system=system, question=question, reasoning=reasoning)
        assert prompt.startswith(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n")
        assert token_ids is None
        assert n_tokens == len(render(form, task, fields, tokenizer).token_ids)
    spent = lab.scalar(database, "SELECT spent_tokens FROM sweep")
    assert spent >= sum(row[2] for row in rows if row[5] is not None)
