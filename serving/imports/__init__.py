"""Bringing questions, reasonings and answers in from files; nothing is ever half-imported."""

from serving.imports.questions import ImportPreview, ImportSummary, import_questions, preview
from serving.imports.readers import read_rows
from serving.imports.reasonings import read_reasonings, resolve_reasonings
from serving.imports.rows import ImportRefused, ImportRow, Problem, ReadResult

__all__ = [
    "ImportPreview",
    "ImportRefused",
    "ImportRow",
    "ImportSummary",
    "Problem",
    "ReadResult",
    "import_questions",
    "preview",
    "read_reasonings",
    "read_rows",
    "resolve_reasonings",
]
