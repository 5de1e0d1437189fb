"""The results matrix as a file, by command."""

import sys
from collections.abc import Sequence
from pathlib import Path

from db.database import Database
from db.errors import UsageError
from db.new_files import new_file
from db.sweeps import get_sweep
from workbench.cli.exporting import export_rows
from workbench.cli.output import show_done
from workbench.matrix.columns import parse_conditions
from workbench.matrix.export import matrix_columns, matrix_html, matrix_records, matrix_source
from workbench.matrix.rows import MatrixQuery


def export_matrix(
    database: Database,
    sweep_ids: Sequence[int],
    by: Sequence[str],
    only: Sequence[str],
    kind: str,
    target: Path | None,
    *,
    as_json: bool,
) -> None:
    """Write the matrix of sweeps as a table of texts, or as one HTML page.

    Raises:
        UsageError: A sweep, a factor, a condition or the kind of file is none, or it cannot be
            written.
    """
    with database.read() as session:
        title = ", ".join(get_sweep(session, one).name for one in sweep_ids)
    conditions = parse_conditions(only)
    if len(conditions) != len(only):
        raise UsageError("--only takes a factor and a level, such as --only role=logician.")
    query = MatrixQuery(sweep_ids=tuple(sweep_ids), by=tuple(by), only=conditions)
    source, totals = matrix_source(database, query)
    if kind != "html":
        columns = matrix_columns(source.design)
        export_rows(matrix_records(source), columns, kind, target, as_json=as_json)
        return
    page = matrix_html(source, totals, title, "en")
    if target is None:
        sys.stdout.buffer.write(page)
        return
    with new_file(target) as file:
        file.write(page)
    done = {"file": target, "questions": len(source.rows)}
    show_done(f"{len(source.rows)} questions in {target}.", done, as_json)
