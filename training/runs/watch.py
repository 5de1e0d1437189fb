"""Storing what the child of a run tells: figures within a second of their making."""

import time
from collections.abc import Mapping
from typing import Any

from db.database import Database
from db.messages import Message, time_left
from db.training import SampleRow, add_metrics, add_samples, get_run, update_run

PHASES = {
    "starting": "Starting Unsloth.",
    "loading": "Loading the model.",
    "rows": "Preparing the rows.",
    "steps": "Training.",
    "first_step": "The first step compiles; later ones are faster.",
    "evaluation": "Looking at the held-out rows.",
    "samples": "Writing sample texts.",
    "saving": "Saving.",
}
"""What is said of a phase while it lasts."""
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
        self._started = time.monotonic()
        self.step = 0
        self.total: int | None = None
        self._phase = "starting"
        self._figures: list[Message] = []
        with database.read() as session:
            summary = get_run(session, run_id).summary
        self._before: dict[str, float] = summary.get("phases", {})
        """Seconds of earlier starts, and of what came before the child."""
        self._expected_s: float | None = summary.get("expected_s")
        """What the run was thought to take; of one that goes on, the rest."""
        if self._expected_s and summary.get("step") and summary.get("total"):
            self._expected_s *= 1 - summary["step"] / summary["total"]
        self.last: dict[str, float] = {}

    @property
    def message(self) -> str:
        """What it does, its last figures, and how long it will still take."""
        parts = [*self._figures]
        if not parts or "seconds_left" not in self.last:
            left = self._seconds_left()
            parts += [Message("{time} left", time=time_left(left))] if left is not None else []
        said = Message.line(parts) if parts else None
        doing = PHASES.get(self._phase)
        if doing and said:
            return Message("{doing} {figures}", doing=Message(doing), figures=said)
        return said or Message(doing or PHASES["starting"])

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
                    self._phase = event["name"]
                    phases = added_up(self._before, event["seconds"])
                    update_run(session, self._run_id, summary={"phases": phases})
                case "begin":
                    self.step, self.total = event["step"], event["total"]
            update_run(
                session,
                self._run_id,
                summary={
                    "step": self.step,
                    "total": self.total,
                    "phase": self._phase,
                    "seconds_left": self._seconds_left(),
                    **self.last,
                },
            )

    def _seconds_left(self) -> float | None:
        """Return how long it will take by what was thought before it began, if that holds still."""
        if self._expected_s is None:
            return None
        left = self._expected_s - (time.monotonic() - self._started)
        return round(left, 1) if left > 0 else None

    def _metrics(self, step: int, values: dict[str, float], seconds_left: float | None) -> None:
        self.step = max(self.step, step)
        self.last |= values
        parts = [
            Message(template, value=self.last[name])
            for name, template in _FIGURES.items()
            if name in self.last
        ]
        if seconds_left is not None:
            self.last["seconds_left"] = seconds_left
            parts.append(Message("{time} left", time=time_left(seconds_left)))
        self._figures = parts or self._figures


_FIGURES = {
    "loss": "loss {value:.3f}",
    "held_out_loss": "held-out {value:.3f}",
    "tokens_per_second": "{value:,.0f} tokens/s",
}


def added_up(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by phase of two accounts together."""
    names = [*one, *(name for name in other if name not in one)]
    return {name: round(one.get(name, 0.0) + other.get(name, 0.0), 1) for name in names}


def time_shares(summary: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return what a run's time went into: phase, seconds, share of all; the largest first."""
    seconds: dict[str, float] = summary.get("phases", {})
    whole = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda one: -one[1])
    return [(name, spent, spent / whole) for name, spent in ranked if spent >= 0.005 * whole > 0]


def share_outside_steps(summary: Mapping[str, Any]) -> float:
    """Return which share of a run's time went into anything but steps, 0 to 1."""
    seconds: dict[str, float] = summary.get("phases", {})
    whole = sum(seconds.values())
    return 1 - seconds.get("steps", 0.0) / whole if whole else 0.0


def describe_shares(summary: Mapping[str, Any]) -> str:
    """Return the same in a line: steps 40 s (80%), start 10 s (20%); 20% outside the steps."""
    shares = ", ".join(
        f"{SHARES[name]} {time_left(seconds)} ({share:.0%})"
        for name, seconds, share in time_shares(summary)
    )
    return shares and f"{shares}; {share_outside_steps(summary):.0%} outside the steps"
