"""``q2q up``, ``doctor``, ``setup``, ``backup`` and ``restore``: the workbench as a whole."""

from pathlib import Path
from typing import Annotated

import typer

from db.errors import Q2QError
from db.settings import load_settings
from db.store.backup import backup as make_backup
from db.store.backup import backup_name
from db.store.backup import restore as put_back
from db.store.migrate import open_home
from workbench.cli.output import Json, inform, show, show_done, show_json
from workbench.cli.typer_app import CommandGroup
from workbench.doctor import run_checks
from workbench.up import complete_home, run_up

top = CommandGroup()


@top.as_command()
def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page [settings: 8501].")
    ] = None,
    no_engine: Annotated[
        bool, typer.Option("--no-engine", help="Only the page, for reading and rating.")
    ] = False,
) -> None:
    """Start the page and the worker; Ctrl-C ends both.

    Example:
      q2q up
      q2q up --port 8600 --no-engine
    """
    settings = load_settings()
    raise typer.Exit(
        run_up(settings, port=port or settings.app_port, with_engine=not no_engine, inform=inform)
    )


@top.as_command()
def doctor(as_json: Json = False) -> None:
    """Check this machine and say for each failure what to do.

    Example:
      q2q doctor
    """
    checks = run_checks(load_settings())
    if as_json:
        show_json(checks)
    else:
        for check in checks:
            show(f"{check.state.upper():5}  {check.name}: {check.message}")
            if check.remedy:
                show(f"       {check.remedy}")
    failed = [check.name for check in checks if check.state == "fail"]
    if failed:
        raise Q2QError("What must be mended: {failed}.", failed=", ".join(failed))


@top.as_command(hidden=True)
def setup() -> None:
    """Bring the store up to date; put the example questions into an empty one.

    Example:
      q2q setup
    """
    complete_home(load_settings(), inform)


@top.as_command()
def backup(
    target: Annotated[
        Path | None,
        typer.Argument(help="A new file, or a folder [default: Q2Q_HOME/backups]."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a consistent copy of the store, also while everything runs.

    Example:
      q2q backup ~/q2q-friday.sqlite
    """
    with open_home() as (settings, database):
        made = make_backup(database, target or settings.home_dir / "backups" / backup_name())
    show_done(f"{made.path} ({made.size_bytes / 1e6:.1f} MB)", made, as_json)


@top.as_command()
def restore(
    source: Annotated[Path, typer.Argument(help="A file made by `q2q backup`.")],
    as_json: Json = False,
) -> None:
    """Put a backup in the place of the store; the store that was there is kept beside it.

    Example:
      q2q restore ~/.q2q/backups/q2q-20261101T120000000000Z.sqlite
    """
    done = put_back(load_settings(), source)
    if as_json:
        show_json(done)
        return
    show(f"Restored {done.path}.")
    if done.replaced is not None:
        show(f"The store that was there is {done.replaced}.")
