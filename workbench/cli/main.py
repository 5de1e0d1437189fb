"""The command ``q2q``. Commands import what they need when they run, so that help is quick."""

import errno
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from db.errors import Q2QError
from workbench.cli import (
    dataset,
    dialogue,
    insights,
    lineage,
    merging,
    model,
    question,
    rate,
    round,
    score,
    serve,
    store,
    sweep,
    train,
)
from workbench.cli.output import say
from workbench.cli.typer_app import CommandGroup

app = CommandGroup(
    "Q2Q Workbench: questions in, reasonings and answers out, everything kept.", name="q2q"
)
store.register(app)
app.add_typer(model.app, name="model")
app.add_typer(serve.app, name="serve")
app.add_typer(question.app, name="question")
app.add_typer(sweep.app, name="sweep")
app.add_typer(rate.app, name="rate")
app.add_typer(score.app, name="score")
app.add_typer(dialogue.app, name="dialogue")
app.add_typer(dataset.app, name="dataset")
app.add_typer(train.app, name="train")
insights.register(rate.app)
round.register(app)
lineage.register(app)
merging.register(app, model.app)


def run() -> None:
    """Run the command line: 0 = done, 1 = failed, 2 = wrong usage, 130 = Ctrl-C."""
    try:
        app(prog_name="q2q")
    except Q2QError as error:
        say(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        say(f"The output could not be written ({error.strerror}); free some space and try again.")
        sys.stdout = None  # what is left in it cannot be written either
        sys.exit(1)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            _say_bug()
        say(
            "A text that was given is not in UTF-8; set the terminal to UTF-8, or use a file in it."
        )
        sys.exit(2)
    except Exception:  # The edge of the program: people get a sentence, the trace goes to a file.
        _say_bug()


def _say_bug() -> NoReturn:
    say(_bug_sentence(traceback.format_exc()))
    sys.exit(1)


def _bug_sentence(trace: str) -> str:
    from workbench.cli.context import load_settings

    try:
        folder = load_settings().home_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = _new_file(folder)
        path.write_text(f"{' '.join(sys.argv)}\n\n{trace}", "utf-8")
    except (Q2QError, OSError):
        return f"This is a bug in Q2Q Workbench:\n{trace}"
    return f"This is a bug in Q2Q Workbench; please report it with the trace in {path}."


def _new_file(folder: Path) -> Path:
    return folder / f"bug-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.txt"


if __name__ == "__main__":
    run()
