"""Questions as lines of a file, in the keys that the import reads: what goes out comes in again."""

from db.new_files import json_line
from db.questions import QuestionRow


def question_line(row: QuestionRow) -> str:
    """Return a question as one JSON object; what is empty is left out.

    The id of the store is not written: it means nothing elsewhere, and an import would take it for
    the question's own id.
    """
    record: dict[str, object] = {
        "external_id": row.external_id,
        "instruction": row.text,
        "input": row.context,
        "flag": row.role,
        "reference_answer": row.reference_answer,
        "category": row.category,
        "language": row.language,
        "tags": list(row.tags),
        "held_out": row.held_out,
    }
    kept = {key: value for key, value in record.items() if value not in (None, "", [])}
    return json_line(kept)
