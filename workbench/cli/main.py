"""The command ``q2q``. Commands import what they need when they run, so that help is quick."""

import contextlib
import errno
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import typer

from db.errors import Q2QError
from workbench.cli.output import complete_streams, inform, show_failure
from workbench.cli.typer_app import CommandGroup, Lazy

_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EPIPE)
"""Errors of stdout, not of the work."""
_NOT_UTF8 = "A text that was given is not in UTF-8; set the terminal to UTF-8, or use a file in it."

COMMANDS = {
    "up": Lazy("workbench.cli.store:top", "Start the page and the worker; Ctrl-C ends both."),
    "doctor": Lazy(
        "workbench.cli.store:top", "Check this machine and say for each failure what to do."
    ),
    "setup": Lazy(
        "workbench.cli.store:top",
        "Bring the store up to date; put the example questions into an empty one.",
        hidden=True,
    ),
    "backup": Lazy(
        "workbench.cli.store:top",
        "Make a consistent copy of the store, also while everything runs.",
    ),
    "restore": Lazy(
        "workbench.cli.store:top",
        "Put a backup in the place of the store; the store that was there is kept beside it.",
    ),
    "report": Lazy(
        "workbench.cli.round:top",
        "Write the comparison of a round as one HTML page that needs nothing else.",
    ),
    "lineage": Lazy(
        "workbench.cli.lineage:top",
        "Show what a text or a model came from, and what came of it: both ways, with ids to go on.",
    ),
    "merge": Lazy(
        "workbench.cli.model:top",
        "Merge an adapter into its 16-bit base, in a fresh folder, and prove the result.",
    ),
    "model": Lazy("workbench.cli.model:app", "Add, list, show and archive models."),
    "serve": Lazy("workbench.cli.serve:app", "Start, stop and see the model servers."),
    "worker": Lazy(
        "workbench.cli.worker:app", "Run jobs without the page, and see the workers of the store."
    ),
    "question": Lazy("workbench.cli.question:app", "Import, list, show and export questions."),
    "sweep": Lazy("workbench.cli.sweep:app", "Plan, run and see sweeps."),
    "rate": Lazy("workbench.cli.rate:app", "Make queues to rate; import and export ratings."),
    "rater": Lazy("workbench.cli.rate:raters", "List, archive and bring back who rates."),
    "score": Lazy("workbench.cli.score:app", "Ask whether reasonings move their answers."),
    "dialogue": Lazy(
        "workbench.cli.dialogue:app", "Dig into a theme: answers lead to questions, and you choose."
    ),
    "dataset": Lazy(
        "workbench.cli.dataset:app",
        "Import training data, choose rows by written rules, freeze them, export them.",
    ),
    "train": Lazy("workbench.cli.train:app", "Train adapters on frozen datasets."),
    "round": Lazy(
        "workbench.cli.round:app", "Run rounds: dataset, training, held-out questions, comparison."
    ),
}
"""What follows `q2q`, in the order of the help."""

app = CommandGroup(
    "Q2Q Workbench: questions in, reasonings and answers out, everything kept.",
    name="q2q",
    lazy=COMMANDS,
)


def run() -> None:
    """Run the command line: 0 = done, 1 = failed, 2 = wrong usage, 130 = Ctrl-C.

    With ``--json`` a failure is an object with its sentence on stdout, too; see docs/cli.md.
    """
    complete_streams()
    try:
        code = _run(as_json="--json" in sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has enough of it
        code = 1
    except OSError as error:
        inform(
            f"The output could not be written ({error.strerror}); free some space and try again."
        )
        code = 1
    _forget_output()
    sys.exit(code)


def _run(*, as_json: bool) -> int:
    """Run the command; return the exit code."""
    try:
        return int(app(prog_name="q2q", standalone_mode=False) or 0)
    except typer.TyperException as error:
        shows = getattr(error, "show", None)
        if shows is not None:
            shows()  # with the usage of the command
        show_failure(error.format_message(), as_json=as_json, is_said=shows is not None)
        return error.exit_code
    except Q2QError as error:
        show_failure(str(error), as_json=as_json)
        return error.exit_code
    except OSError as error:
        if error.errno in _OUTPUT:
            raise
        show_failure(_file_sentence(error), as_json=as_json)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            show_failure(_bug_sentence(traceback.format_exc()), as_json=as_json)
            return 1
        show_failure(_NOT_UTF8, as_json=as_json)
        return 2
    except Exception:  # The edge of the program: people get a sentence, the trace goes to a file.
        show_failure(_bug_sentence(traceback.format_exc()), as_json=as_json)
    return 1


def _forget_output() -> None:
    """Let nothing be written when the program ends: what could not be written cannot be then."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _file_sentence(error: OSError) -> str:
    if error.filename is None:
        return _bug_sentence(traceback.format_exc())
    return (
        f"{error.filename} cannot be used ({error.strerror}); check that it is there, who may read "
        "and write it, and that its disk is whole."
    )


def _bug_sentence(trace: str) -> str:
    from db.settings import load_settings

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
