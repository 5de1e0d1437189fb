"""Do ten turns go round in circles? The guard beside the plain "write 5 more questions" loop.

    python -m benchmarks.dialogue_circles [OUT.json] [--turns 10] [--themes a.yaml b.yaml]

For each example theme, on one server of the embedded model: ``guard``: a dialogue whose turns run
by themselves, where each proposed question is compared with all earlier ones and repeats are folded
away; ``plain``: one chat in which the model is asked again and again for five more questions. Both
are counted alike: a question is a repeat if its wording repeats an earlier one of the same side
(``workbench.dialogue.novelty``, whose precision and recall are in ``novelty.json``). Nobody
chooses in either, and the model is small: the table compares the loops, not dialogues of people.
"""

import argparse
import asyncio
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.dialogue_turn import until_ready
from benchmarks.setting import note, write_result

OUT = Path(__file__).parent / "results" / "dialogue_circles.json"
THEMES = Path(__file__).parents[1] / "examples" / "themes"
ASKED_FOR = 5
_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d+[.)、:：]?)\s*")
_FEWEST_LETTERS = 4


def questions_in(text: str) -> list[str]:
    """Return the questions of a list, without its numbers; at most as many as were asked for."""
    lines = (_NUMBERING.sub("", line).strip() for line in text.splitlines())
    found = [line for line in lines if sum(map(str.isalpha, line)) >= _FEWEST_LETTERS]
    asked = [line for line in found if line.endswith(("?", "？"))]
    return (asked or found)[:ASKED_FOR]


def counted(proposed: Sequence[str], goal: str) -> dict[str, Any]:
    """Return how many questions were proposed, and how many of them repeat an earlier one."""
    from workbench.dialogue.novelty import assess

    repeats = sum(one.is_repeat for one in assess(proposed, [], goal))
    return {
        "proposed": len(proposed),
        "repeated": repeats,
        "repeated_share": round(repeats / len(proposed), 3) if proposed else None,
        "distinct": len(proposed) - repeats,
    }


async def plain(endpoint: tuple[str, str], model: str, theme: Any, turns: int) -> dict[str, Any]:
    """Ask for five more questions, turn after turn, in one chat of the last four lists."""
    url, key = endpoint
    first = (
        f"Theme: {theme.concept}\nGoal: {theme.goal}\nWrite {ASKED_FOR} questions about this theme."
    )
    if theme.language == "ja":
        first += " Write in Japanese."
    talk = [{"role": "user", "content": first}]
    proposed: list[str] = [theme.first_question]
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=300) as client:
        for _ in range(turns):
            body = {
                "model": model,
                "messages": [talk[0], *talk[1:][-8:]],
                "max_tokens": 200,
                "temperature": 1.0,
            }
            answer = await client.post(f"{url}/chat/completions", json=body)
            answer.raise_for_status()
            text = answer.json()["choices"][0]["message"]["content"] or ""
            proposed += questions_in(text)
            talk += [
                {"role": "assistant", "content": text},
                {"role": "user", "content": f"Write {ASKED_FOR} more questions."},
            ]
    return counted(proposed, theme.goal)


async def guarded(database: Any, model: str, theme: Any, turns: int) -> dict[str, Any]:
    """Let the turns of a dialogue run by themselves; count what was proposed, shown and asked."""
    from db.dialogues import read_nodes
    from db.jobs import get_job
    from workbench.cli.rendering import load_registry
    from workbench.dialogue.auto import queue_turns
    from workbench.dialogue.cards import node_view
    from workbench.dialogue.sessions import new_dialogue
    from workbench.dialogue.turn import By

    short = {
        "model": model,
        "variants": 1,
        "reasoning_sampling": {"max_tokens": 64},
        "answer_sampling": {"max_tokens": 120},
        "ask_sampling": {"temperature": 1.0, "max_tokens": 200},
    }
    chosen = theme.model_copy(update={"settings": theme.settings | short})
    with database.write() as session:
        from db.settings import settings

        load_registry(settings(), session)
        dialogue_id = new_dialogue(session, chosen, By())
    with database.write() as session:
        job_id = queue_turns(session, dialogue_id, turns, By())
    while True:
        await asyncio.sleep(0.5)
        with database.read() as session:
            job = get_job(session, job_id)
        if not job.is_active:
            break
    with database.read() as session:
        nodes = read_nodes(session, dialogue_id)
        views = [node_view(session, dialogue_id, node.id) for node in nodes]
    candidates = [one for view in views for one in view.candidates]
    return {
        **counted([theme.first_question, *(one.text for one in candidates)], theme.goal),
        "laid_out": counted([one.text for one in candidates if not one.is_repeat], theme.goal),
        "turns": len(nodes) - 1,
        "ended": job.error or job.message,
    }


async def measure(paths: Sequence[Path], turns: int, save: Any) -> None:
    """Run both loops on each theme; figures are saved as they come."""
    from db.migrate import open_store
    from db.settings import settings
    from serving.engines.server_file import read_record
    from serving.models.register import ensure_default_model
    from workbench.dialogue.themes import load_theme
    from workbench.worker.run import be_worker

    database = open_store(settings())
    model = await asyncio.to_thread(ensure_default_model, database, settings())
    stop = asyncio.Event()
    worker = asyncio.create_task(
        be_worker(settings(), database, stop, load_default=True, at_end="stop")
    )
    try:
        await until_ready(database, worker)
        record = read_record(settings().home_dir)
        assert record is not None
        endpoint = (f"http://127.0.0.1:{record.port}/v1", record.api_key)
        for path in paths:
            theme = load_theme(path)
            sides = {
                "plain": await plain(endpoint, model.name, theme, turns),
                "guard": await guarded(database, model.name, theme, turns),
            }
            note(f"{path.stem}: {sides}")
            save(path.stem, sides)
    finally:
        stop.set()
        await asyncio.wait([worker], timeout=120)
        database.close()


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--themes", type=Path, nargs="*", default=sorted(THEMES.glob("*.yaml")))
    options = parser.parse_args()
    result: dict[str, Any] = {"turns": options.turns, "themes": {}}

    def save(name: str, sides: dict[str, Any]) -> None:
        result["themes"][name] = sides
        write_result(options.out, result)

    with tempfile.TemporaryDirectory() as temporary:
        os.environ["Q2Q_HOME"], os.environ["Q2Q_DEVICE"] = temporary, "cpu"
        os.environ["Q2Q_MAX_MODEL_LEN"] = "2048"
        asyncio.run(measure(options.themes, options.turns, save))


if __name__ == "__main__":
    main()
