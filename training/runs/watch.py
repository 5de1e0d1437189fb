"""Reading what the child writes, and storing it: figures within a second of their making."""

import json
from pathlib import Path
from typing import Any

from db.database import Database
from db.training import SampleRow, add_metrics, add_samples, update_run


class EventReader:
    """Reads the lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """Return the whole lines that came; half a line waits for its rest."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines, end, _ = file.read().rpartition(b"\n")
        self._offset += len(lines) + len(end)
        return [json.loads(line) for line in lines.splitlines()]


class RunRecorder:
    """Writes the events of one run into the store and keeps the last figures."""

    def __init__(self, database: Database, run_id: int) -> None:
        self._database = database
        self._run_id = run_id
        self.step = 0
        self.total: int | None = None
        self.message = "Starting Unsloth."
        self.last: dict[str, float] = {}
        self.final: dict[str, Any] | None = None
        """The event that ended the run: done, stopped or failed."""

    def take(self, events: list[dict[str, Any]]) -> None:
        """Store what came, in one transaction."""
        if not events:
            return
        with self._database.write() as session:
            for event in events:
                match event["event"]:
                    case "metrics":
                        values = event["values"]
                        self._metrics(event["step"], values)
                        points = [(name, event["step"], value) for name, value in values.items()]
                        add_metrics(session, self._run_id, points)
                    case "samples":
                        rows = [SampleRow(step=event["step"], **one) for one in event["samples"]]
                        add_samples(session, self._run_id, rows)
                    case "device":
                        update_run(session, self._run_id, summary={"device": event["name"]})
                    case "begin":
                        self.step, self.total = event["step"], event["total"]
                        self.message = "Training begins."
                    case "done" | "stopped" | "failed":
                        self.final = event
            update_run(
                session,
                self._run_id,
                summary={"step": self.step, "total": self.total, **self.last},
            )

    def _metrics(self, step: int, values: dict[str, float]) -> None:
        self.step = max(self.step, step)
        self.last |= values
        parts = [
            f"{label} {self.last[name]:{form}}"
            for label, name, form in (
                ("loss", "loss", ".3f"),
                ("held-out", "held_out_loss", ".3f"),
                ("tokens/s", "tokens_per_second", ",.0f"),
            )
            if name in self.last
        ]
        self.message = ", ".join(parts) or self.message
