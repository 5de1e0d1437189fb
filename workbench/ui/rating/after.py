"""What comes after rating: a dataset of what was said, or the result of a comparison."""

from db.rating.queues import QueueRow
from workbench.ui.components.next_step import lead_on
from workbench.ui.datasets.new import best_kind, rows_by_kind, rows_by_kind_text


def draw_after(queue: QueueRow | None = None) -> None:
    """Draw the next step, once ``queue`` is done or, without one, from the list of queues."""
    if queue is not None and (round_id := queue.spec.get("round")) is not None:
        lead_on("result", "rounds", round=round_id)
        return
    text, rows = rows_by_kind_text(), rows_by_kind()
    if rows is None or text is None:
        lead_on("dataset", "datasets", new=1)
    elif any(rows.values()) or queue is not None:
        lead_on("dataset_of", "datasets", values={"kinds": text}, new=1, kind=best_kind(rows))
