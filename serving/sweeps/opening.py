"""Opening work: rendering its prompt, keying its slots, claiming them, and asking what exists.

The heavy parts run in a thread, so that requests keep going out meanwhile.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from db.generations import SlotState, find_slots, sampling_id
from db.identity import json_hash, short_hash, slot_key
from serving.engine.messages import SamplingParameters
from serving.engine.served import ServedModel
from serving.sweeps.expand import PromptBook, render_works
from serving.sweeps.work import Work


class Claims:
    """Slots that some run has taken and not yet brought to an end."""

    def __init__(self) -> None:
        self._taken: dict[str, asyncio.Event | None] = {}

    def take(self, slot_key: str) -> asyncio.Event | None:
        """Claim ``slot_key``; if somebody has it, return what is set when they let it go."""
        if slot_key not in self._taken:
            self._taken[slot_key] = None
            return None
        held = self._taken[slot_key]
        if held is None:
            held = self._taken[slot_key] = asyncio.Event()
        return held

    def release(self, slot_keys: Iterable[str]) -> None:
        """Let slots go, recorded or not."""
        for key in slot_keys:
            held = self._taken.pop(key, None)
            if held is not None:
                held.set()


_by_store: dict[str, Claims] = {}


def claims_of(store_url: str) -> Claims:
    """Return the claims on the slots of one store."""
    return _by_store.setdefault(store_url, Claims())


SamplingSet = tuple[SamplingParameters, tuple[str, ...], tuple[int, ...], str | None]


@dataclass(slots=True)
class Opened:
    """What became of the slots of some work."""

    missing: list[Work] = field(default_factory=list)
    """To be sampled: the replicates that nobody has."""
    unsendable: list[Work] = field(default_factory=list)
    """Missing as well, but there is a reason why no request can be made."""
    existing: list[tuple[Work, int, SlotState]] = field(default_factory=list)
    """Sampled before, by this sweep or by another."""
    failed: list[tuple[Work, int]] = field(default_factory=list)
    """Failed in this sweep before, and not to be retried."""
    contested: list[tuple[Work, list[asyncio.Event]]] = field(default_factory=list)
    """Being sampled by somebody else in this process; to be opened again after the events."""


class Opener:
    """Opens work for one sweep while its models are served."""

    def __init__(
        self,
        database: Database,
        sweep_id: int,
        book: PromptBook,
        served: Mapping[int, ServedModel],
        model_names: Mapping[int, str],
        *,
        retry_failed: bool,
    ) -> None:
        self._database = database
        self._sweep_id = sweep_id
        self._book = book
        self._served = served
        self._model_names = model_names
        self._retry_failed = retry_failed
        self._samplings: dict[SamplingSet, tuple[int, str]] = {}

    async def open(self, works: Sequence[Work], claims: Claims, held: set[str]) -> Opened:
        """Return what is to be done for each slot of ``works``.

        Slots are claimed before the store is asked: nobody can finish one in between. Those that
        are to be sampled stay claimed; their keys are added to ``held`` (also if this is cut off).
        """
        await asyncio.to_thread(self._prepare, works)
        opened = Opened()
        ours: list[Work] = []
        for work in works:
            others = {i: claims.take(work.keys[i]) for i in work.replicates}
            free = [i for i, event in others.items() if event is None]
            events = [event for event in others.values() if event is not None]
            if events:
                taken = [i for i, event in others.items() if event is not None]
                opened.contested.append((replace(work, replicates=taken), events))
            if free:
                held.update(work.keys[i] for i in free)
                work.replicates = free
                ours.append(work)
        states = await asyncio.to_thread(self._find, ours)
        for work in ours:
            settled = self._sort(work, states, opened)
            held.difference_update(settled)
            claims.release(settled)
        return opened

    def _sort(self, work: Work, states: Mapping[str, SlotState], opened: Opened) -> list[str]:
        """Put the slots of ``work`` where they belong; return the keys that need no claim."""
        missing: list[int] = []
        settled: list[str] = []
        for i in work.replicates:
            key = work.keys[i]
            state = states.get(key)
            if state is None:
                missing.append(i)
            elif state.ok_generation_id is not None:
                opened.existing.append((work, i, state))
                settled.append(key)
            elif state.failed_here and not self._retry_failed:
                opened.failed.append((work, i))
                settled.append(key)
            else:
                work.attempts[i] = state.attempts
                missing.append(i)
        if missing:
            work.replicates = missing
            (opened.missing if work.problem is None else opened.unsendable).append(work)
        return settled

    def _find(self, works: Sequence[Work]) -> dict[str, SlotState]:
        keys = [work.keys[i] for work in works for i in work.replicates]
        with self._database.read() as session:
            return find_slots(session, self._sweep_id, keys)

    def _prepare(self, works: Sequence[Work]) -> None:
        """Render prompts and make the keys of all slots."""
        render_works(works, self._book, self._served)
        self._store_samplings(works)
        for work in works:
            work.sampling_id, sampling_hash = self._samplings[_sampling_set(work)]
            prompt = _prompt_identity(work)
            for i in work.replicates:
                work.keys[i] = slot_key(
                    question=work.question.content_hash,
                    prompt=prompt,
                    model=self._model_names[work.model_id],
                    sampling=sampling_hash,
                    replicate=i,
                    variant_id=work.under.variant_id if work.under else None,
                )

    def _store_samplings(self, works: Sequence[Work]) -> None:
        new = {_sampling_set(work) for work in works} - self._samplings.keys()
        if new:
            with self._database.write() as session:
                stored = {one: _store_sampling(session, one) for one in new}
            self._samplings |= stored


def _sampling_set(work: Work) -> SamplingSet:
    if work.prompt is None:
        return work.sampling, (), (), None
    prompt = work.prompt
    return work.sampling, prompt.stop, prompt.stop_token_ids, prompt.json_schema


def _store_sampling(session: Session, sampling_set: SamplingSet) -> tuple[int, str]:
    sampling, stop, stop_token_ids, json_schema = sampling_set
    parameters: dict[str, Any] = {
        **sampling.resolved(),
        "stop": list(stop),
        "stop_token_ids": list(stop_token_ids),
    }
    if json_schema is not None:
        parameters["json_schema"] = json_schema
    return sampling_id(session, parameters), json_hash(parameters)


def _prompt_identity(work: Work) -> str:
    """Return what the slots of ``work`` share: the prompt, and the level that it stands for.

    With the level in it, two levels that happen to put the same words stay two, and a sweep has
    exactly as many slots as its plan counts.
    """
    prompt = work.prompt.content_hash if work.prompt else "unrendered"
    parents = ",".join(str(parent.variant_id) for parent in work.parents)
    return short_hash(prompt, str(work.format_id), str(work.role_id), work.task, parents)
