"""Storing what the child of a run tells: figures within a second of their making."""

from collections.abc import Mapping
from typing import Any

from db.database import Database
from db.training import SampleRow, add_metrics, add_samples, get_run, update_run

PHASES = {
    "starting": "Starting Unsloth.",
    "loading": "Loading the model.",
    "rows": "Preparing the rows.",
    "first_step": "The first step compiles; later ones are faster.",
    "evaluation": "Looking at the held-out rows.",
    "samples": "Writing sample texts.",
    "saving": "Saving.",
}
"""What is said of a phase while it lasts; steps speak for themselves."""
SHARES = {
    "tokenising": "tokenising",
    "starting": "start",
    "loading": "loading the model",
    "rows": "preparing rows",
    "first_step": "first step",
    "steps": "steps",
    "evaluation": "held-out rows",
    "samples": "sample texts",
    "saving": "saving",
    "registering": "adding the adapter to the models",
}


class RunRecorder:
    """Writes the events of one run into the store and keeps the last figures."""

    def __init__(self, database: Database, run_id: int) -> None:
        self._database = database
        self._run_id = run_id
        self.step = 0
        self.total: int | None = None
        self.message = PHASES["starting"]
        self._figures = ""
        with database.read() as session:
            summary = get_run(session, run_id).summary
        self._before: dict[str, float] = summary.get("phases", {})
        """Seconds of earlier starts, and of what came before the child."""
        self.last: dict[str, float] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Store what one event tells."""
        with self._database.write() as session:
            match event["event"]:
                case "metrics":
                    values = event["values"]
                    self._metrics(event["step"], values, event.get("seconds_left"))
                    points = [(name, event["step"], value) for name, value in values.items()]
                    add_metrics(session, self._run_id, points)
                case "samples":
                    rows = [SampleRow(step=event["step"], **one) for one in event["samples"]]
                    add_samples(session, self._run_id, rows)
                case "device":
                    update_run(session, self._run_id, summary={"device": event["name"]})
                case "steps_run":
                    update_run(session, self._run_id, summary={"steps_run": event["how"]})
                case "phase":
                    saying = (PHASES.get(event["name"]), self._figures)
                    self.message = " ".join(filter(None, saying)) or self.message
                    phases = added_up(self._before, event["seconds"])
                    update_run(session, self._run_id, summary={"phases": phases})
                case "begin":
                    self.step, self.total = event["step"], event["total"]
            update_run(
                session,
                self._run_id,
                summary={"step": self.step, "total": self.total, **self.last},
            )

    def _metrics(self, step: int, values: dict[str, float], seconds_left: float | None) -> None:
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
        if seconds_left is not None:
            parts.append(f"{time_left(seconds_left)} left")
        self._figures = self.message = ", ".join(parts) or self.message


def added_up(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by phase of two accounts together."""
    names = [*one, *(name for name in other if name not in one)]
    return {name: round(one.get(name, 0.0) + other.get(name, 0.0), 1) for name in names}


def time_left(seconds: float) -> str:
    """Return seconds as people say them: 40 s, 3 min, 1 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def time_shares(summary: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return what a run's time went into: phase, seconds, share of all; the largest first."""
    seconds: dict[str, float] = summary.get("phases", {})
    whole = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda one: -one[1])
    return [(name, spent, spent / whole) for name, spent in ranked if spent >= 0.005 * whole > 0]


def describe_shares(summary: Mapping[str, Any]) -> str:
    """Return the same in a line: steps 40 s (80%), start 10 s (20%)."""
    return ", ".join(
        f"{SHARES[name]} {time_left(seconds)} ({share:.0%})"
        for name, seconds, share in time_shares(summary)
    )
