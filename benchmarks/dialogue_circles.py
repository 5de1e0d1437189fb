"""Do ten turns go round in circles? The guard beside the plain "write 5 more questions" loop.

    python -m benchmarks.dialogue_circles [OUT.json] [--turns 10] [--themes a.yaml b.yaml]
    python -m benchmarks.dialogue_circles OUT.json --temperature 0.3

For each example theme, on one server of the embedded model: ``guard``: a dialogue whose turns run
by themselves, where each proposed question is compared with all earlier ones and repeats are folded
away; ``plain``: one chat in which the model is asked again and again for five more questions. All
are counted alike: a question is a repeat if its wording repeats an earlier one of the same list
(``workbench.dialogue.novelty``, whose precision and recall are in ``novelty.json``), and a copy if
only its signs and capitals differ. The guard folds what this very measure calls repeats: that few
are left among the ones laid out says that it works, not that people would find none.
Nobody chooses in either, and the model is small: the table compares the loops, not dialogues of
people. A theme that OUT holds already, at the same turns and temperature, is not run again.
"""

import argparse
import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.dialogue_turn import until_ready
from benchmarks.setting import note, write_result

OUT = Path(__file__).parent / "results" / "dialogue_circles.json"
THEMES = Path(__file__).parents[1] / "examples" / "themes"
ASKED_FOR = 5
LIST_TOKENS = 200
SHORT = {
    "variants": 1,
    "reasoning_sampling": {"max_tokens": 64},
    "answer_sampling": {"max_tokens": 120},
}
"""Settings of the guarded dialogue beside those of its lists, which are the plain loop's too."""
_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d+[.)、:：]?)\s*")
_NO_LETTER = re.compile(r"[\W_]+")
_FEWEST_LETTERS = 4


def questions_in(text: str) -> list[str]:
    """Return the questions of a list, without its numbers; at most as many as were asked for."""
    lines = (_NUMBERING.sub("", line).strip() for line in text.splitlines())
    found = [line for line in lines if sum(map(str.isalpha, line)) >= _FEWEST_LETTERS]
    asked = [line for line in found if line.endswith(("?", "？", "か。"))]
    return (asked or found)[:ASKED_FOR]


def counted(first: str, proposed: Sequence[str], theme: Any) -> dict[str, Any]:
    """Return how many of ``proposed`` repeat the first question or one before them."""
    from serving.checks.language import detect_language
    from workbench.dialogue.novelty import assess

    repeats = [one.is_repeat for one in assess([first, *proposed], [], theme.goal)][1:]
    letters = [_NO_LETTER.sub("", text).casefold() for text in (first, *proposed)]
    n = len(proposed)
    return {
        "questions": n,
        "repeated": sum(repeats),
        "repeated_share": round(sum(repeats) / n, 3) if n else None,
        "copies": len(letters) - len(set(letters)),
        "distinct": n - sum(repeats),
        "distinct_in_language": sum(
            not is_repeat and detect_language(text) in (None, theme.language)
            for text, is_repeat in zip(proposed, repeats, strict=True)
        ),
    }


async def plain(
    endpoint: tuple[str, str], model: str, theme: Any, turns: int, temperature: float
) -> dict[str, Any]:
    """Ask for five more questions, turn after turn, in one chat of the last four lists."""
    from workbench.dialogue.settings import language_name

    url, key = endpoint
    first = (
        f"Theme: {theme.concept}\nGoal: {theme.goal}\nQuestion: {theme.question}\n"
        f"Write {ASKED_FOR} next questions in {language_name(theme.language)}."
    )
    talk = [{"role": "user", "content": first}]
    proposed: list[str] = []
    began = time.monotonic()
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=300) as client:
        for _ in range(turns):
            body = {
                "model": model,
                "messages": [talk[0], *talk[1:][-8:]],
                "max_tokens": LIST_TOKENS,
                "temperature": temperature,
            }
            answer = await client.post(f"{url}/chat/completions", json=body)
            answer.raise_for_status()
            text = answer.json()["choices"][0]["message"]["content"] or ""
            proposed += questions_in(text)
            talk += [
                {"role": "assistant", "content": text},
                {"role": "user", "content": f"Write {ASKED_FOR} more questions."},
            ]
    return {
        "turns": turns,
        "proposed": counted(theme.question, proposed, theme),
        "seconds": round(time.monotonic() - began, 1),
    }


async def guarded(
    database: Any, model: str, theme: Any, turns: int, temperature: float
) -> dict[str, Any]:
    """Let the turns of a dialogue run by themselves; count what was proposed and laid out."""
    from db.dialogues import read_nodes
    from db.jobs import get_job
    from workbench.dialogue.auto import queue_turns
    from workbench.dialogue.cards import node_view
    from workbench.dialogue.events import By
    from workbench.dialogue.lifecycle import new_dialogue

    began = time.monotonic()
    lists = {"ask_sampling": {"temperature": temperature, "max_tokens": LIST_TOKENS}}
    with database.write() as session:
        dialogue_id = new_dialogue(session, theme, By(), settings=SHORT | lists | {"model": model})
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
    candidates = [one for view in views for one in (*view.earlier_candidates, *view.candidates)]
    laid_out = [one.text for one in candidates if one.is_shown]
    return {
        "turns": len(nodes) - 1,
        "proposed": counted(theme.question, [one.text for one in candidates], theme),
        "laid_out": counted(theme.question, laid_out, theme),
        "ended": job.error or (job.result or {}).get("why"),
        "seconds": round(time.monotonic() - began, 1),
    }


async def measure(paths: Sequence[Path], turns: int, temperature: float, save: Any) -> None:
    """Run both loops on each theme; figures are saved as they come."""
    from db.settings import settings
    from db.store.migrate import open_store
    from serving.engine.server import read_record
    from serving.formats.library import load_registry
    from serving.models.register import ensure_default_model
    from workbench.dialogue.settings import load_theme
    from workbench.worker import be_worker

    database = open_store(settings())
    model = await asyncio.to_thread(ensure_default_model, database, settings())
    with database.write() as session:
        load_registry(settings(), session)
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
                "plain": await plain(endpoint, model.name, theme, turns, temperature),
                "guard": await guarded(database, model.name, theme, turns, temperature),
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
    parser.add_argument("--temperature", type=float, default=1.0, help="of lists, in both loops")
    parser.add_argument("--themes", type=Path, nargs="*", default=sorted(THEMES.glob("*.yaml")))
    options = parser.parse_args()
    how = {"turns": options.turns, "temperature": options.temperature}
    themes = known_themes(options.out, how)

    def save(name: str, sides: dict[str, Any]) -> None:
        themes[name] = sides
        write_result(options.out, how | {"themes": themes})

    left = [path for path in options.themes if path.stem not in themes]
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["Q2Q_HOME"], os.environ["Q2Q_DEVICE"] = temporary, "cpu"
        os.environ["Q2Q_MAX_MODEL_LEN"] = "2048"
        if left:
            asyncio.run(measure(left, options.turns, options.temperature, save))
    write_result(options.out, how | {"themes": themes, "all": summed(themes)})


def summed(themes: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of each list over all themes."""
    names = (("plain", "proposed"), ("guard", "proposed"), ("guard", "laid_out"))
    counts = ("questions", "repeated", "copies", "distinct", "distinct_in_language")
    whole = {}
    for side, kind in names:
        lists = [sides[side][kind] for sides in themes.values()]
        found = {name: sum(one[name] for one in lists) for name in counts}
        share = found["repeated"] / found["questions"] if found["questions"] else None
        whole[f"{side} {kind}"] = found | {"repeated_share": share and round(share, 3)}
    return whole


def known_themes(out: Path, how: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that an earlier run of the same kind left in ``out``."""
    known = json.loads(out.read_text()) if out.exists() else {}
    themes: dict[str, Any] = known["themes"] if how.items() <= known.items() else {}
    return themes


if __name__ == "__main__":
    main()
