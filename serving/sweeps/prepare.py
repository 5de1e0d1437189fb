"""What is sent for slots, what they are keyed by, and what becomes of each before it is sent.

Prompts are rendered and the store is asked in threads, so that requests keep going out meanwhile.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from sqlalchemy.orm import Session

from db.cancelling import in_thread, regardless, until_stored
from db.database import Database
from db.generations import (
    PromptText,
    SlotState,
    find_slots,
    link_generations,
    sampling_id,
)
from db.identity import json_hash, short_hash, slot_key
from db.workers.claims import claim_slots, release_slots
from serving.engine.client import ServedModel
from serving.engine.messages import SamplingParameters
from serving.engine.responses import least_tokens
from serving.formats.chat_template import ChatPrompt
from serving.formats.definitions import FormatDefinition, PromptError, PromptFields, Task
from serving.formats.render import RenderedPrompt, render_batch
from serving.sweeps.expand import Reasoning, SlotGroup, Templates, prompt_fields

_Sampling = tuple[SamplingParameters, tuple[str, ...], tuple[int, ...], str | None]


LOOK_AGAIN_S = 1.0
"""When slots that another worker has claimed are looked at again."""


class Claims:
    """Slots that some run has taken and not yet brought to an end: no slot is sampled twice.

    For one event loop: a worker runs all its sweeps in one. Across restarts the store tells, and
    across several workers its claims (``db.workers.claims``).
    """

    def __init__(self) -> None:
        self._taken: dict[str, asyncio.Event | None] = {}

    def take(self, key: str) -> asyncio.Event | None:
        """Claim a slot; if somebody has it, return what is set when they let it go."""
        if key not in self._taken:
            self._taken[key] = None
            return None
        held = self._taken[key]
        if held is None:
            held = self._taken[key] = asyncio.Event()
        return held

    def release(self, keys: Iterable[str]) -> None:
        """Let slots go, recorded or not."""
        for key in keys:
            held = self._taken.pop(key, None)
            if held is not None:
                held.set()


_by_store: dict[str, Claims] = {}


def claims_of(store_url: str) -> Claims:
    """Return the claims on the slots of one store."""
    return _by_store.setdefault(store_url, Claims())


@dataclass(slots=True)
class Sorted:
    """What is to be done with slots that were opened."""

    missing: list[SlotGroup] = field(default_factory=list)
    """To be sampled: the replicates that nobody has. Some have a ``problem``."""
    existing: list[tuple[SlotGroup, SlotState]] = field(default_factory=list)
    """Sampled before, by this sweep or by another; one entry a slot."""
    failed: list[SlotGroup] = field(default_factory=list)
    """Failed in this sweep before, and not to be retried; one entry a slot."""
    contested: list[tuple[SlotGroup, list[asyncio.Event]]] = field(default_factory=list)
    """Being sampled by somebody else; to be opened again after the events."""
    unclaimed: list[str] = field(default_factory=list)
    """Keys whose claims are needed no more."""


class Preparer:
    """Prepares slots for one sweep while its models are served."""

    def __init__(
        self,
        database: Database,
        sweep_id: int,
        templates: Templates,
        served: Mapping[int, ServedModel],
        model_names: Mapping[int, str],
        *,
        retry_failed: bool,
        worker_id: int | None = None,
    ) -> None:
        self._database = database
        self._sweep_id = sweep_id
        self._templates = templates
        self._served = served
        self._model_names = model_names
        self._retry_failed = retry_failed
        self._worker_id = worker_id
        """Of several workers: slots are claimed in the store as well."""
        self._claims = claims_of(str(database.engine.url))
        self._held: set[str] = set()
        self._samplings: dict[_Sampling, tuple[int, str]] = {}

    async def prepare(self, groups: Sequence[SlotGroup]) -> Sorted:
        """Return what is to be done for each slot of ``groups``.

        Slots are claimed before the store is asked: nobody can finish one in between. Those that
        are to be sampled stay claimed until they are released.
        """
        await asyncio.to_thread(self._render, groups)
        found = Sorted()
        ours: list[SlotGroup] = []
        for group in groups:
            events = {i: self._claims.take(group.keys[i]) for i in group.replicates}
            others = [event for event in events.values() if event is not None]
            if others:
                taken = [i for i, event in events.items() if event is not None]
                found.contested.append((replace(group, replicates=taken), others))
            group.replicates = [i for i, event in events.items() if event is None]
            self._held.update(group.keys[i] for i in group.replicates)
            if group.replicates:
                ours.append(group)
        states, elsewhere = await in_thread(self._find, ours)
        for group in ours:
            self._sort(group, states, elsewhere, found)
        settled = [key for key in found.unclaimed if key not in elsewhere]
        await in_thread(self._release_in_store, settled)
        self.release(found.unclaimed)
        return found

    async def close(self) -> None:
        """Let all claims go, whatever happens meanwhile to the store or to whoever asks for it."""
        held, self._held = self._held, set()
        await regardless(self._let_go(list(held)))

    async def _let_go(self, keys: Sequence[str]) -> None:
        """Let claims go, in the store first: nobody here takes one that is about to be removed."""
        try:
            await until_stored(self._database, self._release_in_store, keys)
        finally:
            self._claims.release(keys)

    def _release_in_store(self, keys: Sequence[str]) -> None:
        worker_id = self._worker_id
        if keys and worker_id is not None:
            self._database.write_again(lambda session: release_slots(session, worker_id, keys))

    def release(self, keys: Collection[str]) -> None:
        """Let claims go that are in the store no more."""
        self._held.difference_update(keys)
        self._claims.release(keys)

    def _sort(
        self,
        group: SlotGroup,
        states: Mapping[str, SlotState],
        elsewhere: Collection[str],
        found: Sorted,
    ) -> None:
        """Put the slots of ``group`` where they belong."""
        missing: list[int] = []
        taken: list[int] = []
        for i in group.replicates:
            key = group.keys[i]
            state = states.get(key)
            if state is not None and state.ok_generation_id is not None:
                found.existing.append((group, state))
            elif state is not None and state.failed_here and not self._retry_failed:
                found.failed.append(group)
            elif key in elsewhere:
                taken.append(i)
            else:
                group.attempts[i] = state.attempts if state is not None else 0
                missing.append(i)
                continue
            found.unclaimed.append(key)
        if taken:
            found.contested.append((replace(group, replicates=taken), [_set_later()]))
        if missing:
            group.replicates = missing
            found.missing.append(group)

    def _find(self, groups: Sequence[SlotGroup]) -> tuple[dict[str, SlotState], set[str]]:
        """Return what the store holds, and which slots another worker may be sampling.

        What other sweeps made is shown in this one as well.
        """
        keys = [group.keys[i] for group in groups for i in group.replicates]
        elsewhere: set[str] = set()
        worker_id = self._worker_id
        if worker_id is not None:
            claimed = self._database.write_again(
                lambda session: claim_slots(session, worker_id, keys)
            )
            elsewhere = set(keys) - claimed
        with self._database.read() as session:
            states = find_slots(session, self._sweep_id, keys)
        unlinked = [
            state.ok_generation_id
            for state in states.values()
            if state.ok_generation_id is not None and not state.is_linked
        ]
        if unlinked:
            self._database.write_again(
                lambda session: link_generations(session, self._sweep_id, unlinked)
            )
        return states, elsewhere

    def _render(self, groups: Sequence[SlotGroup]) -> None:
        """Set the prompts and keys of all slots."""
        render_prompts(groups, self._templates, self._served)
        self._store_samplings(groups)
        for group in groups:
            group.sampling_id, sampling_hash = self._samplings[_sampling(group)]
            prompt = _prompt_identity(group)
            for i in group.replicates:
                group.keys[i] = slot_key(
                    question=group.question.content_hash,
                    prompt=prompt,
                    model=self._model_names[group.model_id],
                    sampling=sampling_hash,
                    replicate=i,
                    variant_id=group.under.variant_id if group.under else None,
                )

    def _store_samplings(self, groups: Sequence[SlotGroup]) -> None:
        new = {_sampling(group) for group in groups} - self._samplings.keys()
        if new:
            with self._database.write(concurrently=True) as session:
                self._samplings |= {one: _store_sampling(session, one) for one in new}


def _set_later() -> asyncio.Event:
    """Return an event that is set after a while: what another worker samples tells nobody here."""
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(LOOK_AGAIN_S, event.set)
    return event


def _sampling(group: SlotGroup) -> _Sampling:
    prompt = group.prompt
    if prompt is None:
        return group.sampling, (), (), None
    return group.sampling, prompt.stop, prompt.stop_token_ids, prompt.json_schema


def _store_sampling(session: Session, one: _Sampling) -> tuple[int, str]:
    sampling, stop, stop_token_ids, json_schema = one
    parameters: dict[str, Any] = {
        **sampling.resolved(),
        "stop": list(stop),
        "stop_token_ids": list(stop_token_ids),
    }
    if json_schema is not None:
        parameters["json_schema"] = json_schema
    return sampling_id(session, parameters), json_hash(parameters)


def _prompt_identity(group: SlotGroup) -> str:
    """Return what the slots of a group share: the prompt, and the level that it stands for.

    With the level in it, two levels that happen to put the same words stay two, and a sweep has
    exactly as many slots as its plan counts.
    """
    prompt = group.prompt.content_hash if group.prompt else "unrendered"
    parents = ",".join(str(parent.variant_id) for parent in group.parents)
    return short_hash(prompt, str(group.format_id), str(group.role_id), group.task, parents)


def render_prompts(
    groups: Sequence[SlotGroup], templates: Templates, served: Mapping[int, ServedModel]
) -> None:
    """Set the prompt of each group, or the problem that keeps it from being sent."""

    def batch_of(group: SlotGroup) -> tuple[int, str, int]:
        return group.format_id, group.task, group.model_id

    for (format_id, _, model_id), same in groupby(sorted(groups, key=batch_of), key=batch_of):
        batch = list(same)
        form, model = templates.formats[format_id], served[model_id]
        fields = [_fields(group, templates) for group in batch]
        prompts = _render_all(form, batch[0].task, fields, model)
        for group, prompt in zip(batch, prompts, strict=True):
            if isinstance(prompt, PromptError):
                group.problem = str(prompt)
                continue
            group.problem = _too_long(prompt, group.sampling.max_tokens, model)
            group.prompt = prompt
            group.is_alone |= isinstance(prompt.text, ChatPrompt)
            group.prompt_text = PromptText(
                content_hash=prompt.content_hash,
                text=str(prompt.text),
                token_ids=prompt.id_bytes,
                n_tokens=len(prompt.token_ids) or None,
            )


def _fields(group: SlotGroup, templates: Templates) -> PromptFields:
    question, system = group.question, templates.systems[group.role_id]
    if group.ask is not None:
        return PromptFields(
            system=system, question=question.text, context=question.context, **group.ask.given
        )
    reasonings: tuple[Reasoning, ...] = group.parents or ((group.under,) if group.under else ())
    return prompt_fields(question, system, group.task, [one.text for one in reasonings])


def _render_all(
    form: FormatDefinition,
    task: Task,
    fields: Sequence[PromptFields],
    model: ServedModel,
) -> Sequence[RenderedPrompt | PromptError]:
    """Render all at once; where one cannot be rendered, one by one to know which."""
    as_messages = form.kind == "chat" and model.takes_messages
    try:
        return render_batch(
            form,
            task,
            fields,
            model.tokenizer,
            as_messages=as_messages,
            system_apart=model.capabilities.system_messages,
        )
    except PromptError as error:
        if len(fields) == 1:
            return [error]
    return [one for each in fields for one in _render_all(form, task, [each], model)]


def _too_long(prompt: RenderedPrompt, max_tokens: int, model: ServedModel) -> str | None:
    n_prompt, limit = least_tokens(prompt.token_ids or prompt.text), model.context_length
    if limit is None or n_prompt + max_tokens <= limit:
        return None
    remedy = (
        f"lower max_tokens to at most {limit - n_prompt:,}, or shorten the question"
        if n_prompt < limit
        else "shorten the question or its context, or take a model that reads more"
    )
    about = "" if prompt.token_ids else "at least "
    has = f"the prompt has {about}{n_prompt:,} tokens and " if n_prompt else ""
    return (
        f"Too long: {has}max_tokens is {max_tokens:,}, "
        f"but {model.served_name} takes {limit:,} in all; {remedy}."
    )
