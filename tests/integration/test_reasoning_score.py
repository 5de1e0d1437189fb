"""Reasoning scores on the real engine: a case where the reasoning decides, and leaks abroad."""

import pytest

from db.database import Database
from db.questions import NewQuestion, add_question
from serving.engine.client import CompletionClient
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.answers import ScoreOutcome
from serving.scoring.judge import JudgeSpec, run_judge
from serving.scoring.spec import ScoreSpec
from tests.engine_fixture import VllmServer
from tests.fakes.engines import FixedEngines
from tests.store_rows import make_answer
from tests.unit import score_lab
from tests.unit import sweep_lab as lab
from workbench.insights.reasoning import LevelReport, read_reasoning_report

pytestmark = pytest.mark.engine

CHOICES = (
    ("river", "mountain"),
    ("apple", "table"),
    ("green", "purple"),
    ("winter", "summer"),
    ("doctor", "teacher"),
    ("bread", "water"),
    ("window", "garden"),
    ("silver", "copper"),
    ("monday", "friday"),
    ("horse", "rabbit"),
    ("violin", "trumpet"),
    ("Paris", "London"),
)
HAMLET = {
    "William Shakespeare escribió Hamlet.": "es",
    "William Shakespeare schrieb Hamlet.": "de",
    "William Shakespeare a écrit Hamlet.": "fr",
    "You should think about English plays and give one full name.": "hint",
}
SKY = {"Le ciel est bleu.": "fr", "You should name one colour.": "hint"}
BASE = ScoreSpec(answers="people", model="fake", format="tagged@1")


async def score(database: Database, server: VllmServer, spec: ScoreSpec) -> ScoreOutcome:
    return await score_lab.score(
        database,
        server.endpoint,
        PromptTokenizer.load(server.folder),
        spec,
        name=server.model,
        context_length=server.context_length,
        max_num_seqs=32,
        timeout_s=120,
    )


def report(database: Database, spec: ScoreSpec) -> LevelReport:
    with database.read() as session:
        (found,) = read_reasoning_report(session, spec).levels
    return found


@pytest.mark.soak  # 144 texts; the next test scores with the real server, too
async def test_a_reasoning_that_says_which_answer_to_give_moves_it_and_a_foreign_one_does_not(
    database: Database, vllm_server: VllmServer
) -> None:
    lab.fill(database, 0)
    for pair in CHOICES:
        score_lab.add(
            database,
            f"Which word do you choose, {pair[0]} or {pair[1]}?",
            {f'You should answer with exactly the word "{word}".': [word] for word in pair},
        )
    spec = BASE.model_copy(update={"leak": False})
    outcome = await score(database, vllm_server, spec)
    assert (outcome.scored, outcome.failed) == (len(CHOICES) * 2 * 8, 0)
    found = report(database, spec)
    own, foreign = found.scores["own"], found.scores["foreign"]
    assert found.limit == 1.0
    assert own.bits.value > 0.3
    assert own.bits.low is not None
    assert own.bits.low > 0.1
    assert own.p < 0.05
    assert all(bits > 0 for bits in own.by_question)
    assert abs(foreign.untempered) < 0.15
    assert foreign.p > 0.05
    assert found.margins["foreign"].value > 0.3
    assert found.verdict in ("input", "words", "input_unsorted")
    again = await score(database, vllm_server, spec)
    assert (again.new, again.scored) == (0, outcome.scored)


async def test_a_reasoning_that_holds_the_answer_in_another_language_leaks(
    database: Database, vllm_server: VllmServer
) -> None:
    lab.fill(database, 0)
    score_lab.add(
        database,
        "Who wrote Hamlet?",
        {reasoning: ["William Shakespeare wrote Hamlet."] for reasoning in HAMLET},
    )
    score_lab.add(
        database,
        "What colour is the sky on a clear day?",
        {reasoning: ["The sky is blue."] for reasoning in SKY},
    )
    spec = BASE.model_copy(update={"controls": False})
    await score(database, vllm_server, spec)
    leak = report(database, spec).leak
    assert leak is not None
    texts = dict(lab.rows(database, "SELECT id, text FROM reasoning_variant"))
    flagged = {texts[one.variant_id] for one in leak.flagged}
    assert {text for text, what in HAMLET.items() if what != "hint"} <= flagged
    assert not flagged & {text for text, what in (HAMLET | SKY).items() if what == "hint"}
    alone = {texts[one.variant_id]: one.own for one in leak.reasonings}
    french, hint = SKY
    assert alone[french] > alone[hint] + 0.5


async def test_a_real_model_judges_in_both_orders_what_says_the_same(
    database: Database, vllm_server: VllmServer
) -> None:
    lab.fill(database, 0)
    with database.write() as session:
        asked = NewQuestion(text="What colour is the sky on a clear day?", reference_answer="Blue.")
        question, _ = add_question(session, asked)
        for text in ("Blue.", "It is blue.", "Forty-two elephants."):
            make_answer(session, question, None, text, source="imported")
    async with CompletionClient(vllm_server.endpoint, timeout_s=120, retry=lab.QUICK) as client:
        model = lab.served(
            client,
            name=vllm_server.model,
            tokenizer=PromptTokenizer.load(vllm_server.folder),
            context_length=vllm_server.context_length,
        )
        outcome = await run_judge(database, JudgeSpec(model="fake"), FixedEngines([model]))
    assert (outcome.answers, outcome.failed, outcome.unable) == (3, 0, [])
    # So small a model judges badly; what counts here is that each answer got one verdict or none.
    assert outcome.ok + outcome.not_ok + outcome.undecided == 3
