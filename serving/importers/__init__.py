"""Bringing questions, reasonings and answers in from files; nothing is ever half-imported."""

from serving.importers.questions import ImportPreview, ImportSummary, import_questions, preview
from serving.importers.readers import read_rows
from serving.importers.reasonings import read_reasonings, resolve_reasonings
from serving.importers.source import ImportFile, ImportRefused, ImportRow, Problem

__all__ = [
    "ImportFile",
    "ImportPreview",
    "ImportRefused",
    "ImportRow",
    "ImportSummary",
    "Problem",
    "import_questions",
    "preview",
    "read_reasonings",
    "read_rows",
    "resolve_reasonings",
]
