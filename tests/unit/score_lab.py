"""What the tests of scoring share: questions with reasonings of people and answers under them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from db.database import Database
from db.identity import text_hash
from db.questions import NewQuestion, add_question
from db.tables import Answer, ReasoningVariant
from serving.engine.client import CompletionClient
from serving.engine.messages import Endpoint
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.answers import ScoreOutcome, run_scoring
from serving.scoring.spec import ScoreSpec
from tests.fakes.engines import FixedEngines
from tests.unit import sweep_lab as lab

BY_PEOPLE = ScoreSpec(answers="people", model="fake")


def add(database: Database, question: str, answers: Mapping[str, Sequence[str]]) -> int:
    """Write a question with its reasonings, each with its answers; return its id."""
    with database.write() as session:
        question_id, _ = add_question(session, NewQuestion(text=question))
        for reasoning, texts in answers.items():
            variant = ReasoningVariant(
                question_id=question_id,
                text=reasoning,
                source="imported",
                content_hash=text_hash(reasoning),
            )
            session.add(variant)
            session.flush()
            session.add_all(
                Answer(
                    question_id=question_id,
                    variant_id=variant.id,
                    text=text,
                    source="imported",
                    content_hash=text_hash(text),
                )
                for text in texts
            )
    return question_id


async def score(
    database: Database,
    endpoint: Endpoint,
    tokenizer: PromptTokenizer,
    spec: ScoreSpec = BY_PEOPLE,
    **options: Any,
) -> ScoreOutcome:
    """Score with one server, whose model has the id 1, within a deadline."""
    changes = {
        key: options.pop(key)
        for key in ("context_length", "capabilities", "max_num_seqs", "name")
        if key in options
    }
    timeout_s = options.pop("timeout_s", 30.0)
    async with CompletionClient(endpoint, timeout_s=timeout_s, retry=lab.QUICK) as client:
        model = lab.served(client, tokenizer=tokenizer, **changes)
        running = run_scoring(database, spec, FixedEngines([model]), **options)
        return await asyncio.wait_for(running, 300)
