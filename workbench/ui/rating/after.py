"""What comes after rating: a dataset of what was said, or the result of a comparison."""

from db.rating.queues import QueueRow
from workbench.ui.components.i18n import t
from workbench.ui.components.live import wait_for
from workbench.ui.components.next_step import lead_on
from workbench.ui.datasets.new import best_kind, rows_by_kind, rows_text


def draw_after(queue: QueueRow | None = None) -> None:
    """Draw the next step, once ``queue`` is done or, without one, from the list of queues."""
    if queue is not None and (round_id := queue.spec.get("round")) is not None:
        lead_on("result", "rounds", round=round_id)
        return
    rows = rows_by_kind()
    if rows is None:
        wait_for(t("next.dataset.counting"), lambda: rows_by_kind() is not None)
    elif any(rows.values()) or queue is not None:
        text = t("dataset.rows_by_kind", kinds=rows_text(rows))
        lead_on("dataset", "datasets", text=text, new=1, kind=best_kind(rows))
