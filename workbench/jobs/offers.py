"""What a probe finds on a server by URL: the models that are used, and which versions they are."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db.engines import EngineRow
from db.errors import UsageError
from db.messages import Message
from db.models import ModelRow, declare_model, find_model, note_fingerprint
from serving.engine.client import CompletionClient
from serving.engine.equality import MAX_GAP, gap
from serving.engine.messages import (
    Capabilities,
    Endpoint,
    EngineUnavailable,
    OfferedModel,
    Price,
)
from serving.engine.probe import ProbeResult, offered_models, probe
from serving.formats.tokenizer import PromptTokenizer
from serving.models.as_served import as_served, split_precision


def declared(
    session: Session, engine: EngineRow, result: ProbeResult, tokenizer: PromptTokenizer | None
) -> tuple[dict[str, ModelRow], Message | None]:
    """Return the versions that a server offers, by its names for them, and what is odd about them.

    Weights that are clearly not those of the version that the server says, or is said, to offer
    are a version of their own.
    """

    def declare(served: OfferedModel, equal_to: str | None) -> ModelRow:
        name, precision = split_precision(equal_to or "")
        if precision is not None:
            with suppress(UsageError):  # a model that this store does not know is only declared
                equal_to = as_served(session, find_model(session, name), precision).name
        return declare_model(
            session,
            served.name,
            engine.name,
            context_length=served.context_length,
            tokenizer_hash=tokenizer.content_hash if tokenizer else None,
            precision=precision,
            equal_to=equal_to,
        )

    message = None
    main = next((one for one in result.models if one.base is None), None)
    models = {one.name: declare(one, None) for one in result.models if one is not main}
    if main is not None:
        model = declare(main, engine.model_name)
        apart = gap(note_fingerprint(session, model.id, result.fingerprint), result.fingerprint)
        if apart is not None and apart > MAX_GAP:
            other = declare(main, f"{model.name}@{engine.name}")
            message = Message(
                "Its weights are not those of {model}: {gap:.2f} nats a token apart on a fixed"
                " text. What it offers is {other} here.",
                model=model.name,
                gap=apart,
                other=other.name,
            )
            model = other
        models = {main.name: model, **models}
    return models, message


def offered_capabilities(capabilities: Capabilities, reasons: Mapping[str, str]) -> dict[str, Any]:
    """Return what is stored of a probe: each capability, and why some are missing."""
    return {**asdict(capabilities), "reasons": dict(reasons)}


async def found(engine: EngineRow, endpoint: Endpoint, afresh: bool) -> ProbeResult:
    """Return what a server can do; what is known is not asked again, but ``afresh``.

    Raises:
        EngineError: It does not answer as a model server.
    """
    first = next(iter(engine.offers or ()), None)
    can = engine.capabilities
    if afresh or engine.probed_at is None or can.get("completions", True):
        return await probe(endpoint, model=first)
    async with CompletionClient(endpoint) as client:
        models = await offered_models(client, named=first)
    known = {one.name: can[one.name] for one in fields(Capabilities) if one.name in can}
    for name in ("refused_fields", "refused_neutral"):
        known[name] = tuple(known.get(name, ()))
    return ProbeResult(
        software=engine.software,
        models=models,
        context_length=None,
        capabilities=Capabilities(**known),
        reasons=can.get("reasons", {}),
    )


MAX_LISTED = 50
"""A server that lists more models is a market of them: people choose."""


def chosen(engine: EngineRow, result: ProbeResult) -> ProbeResult:
    """Return what was found of the models that are used.

    Raises:
        EngineUnavailable: It lists too many, and nobody has chosen.
    """
    if engine.offers is None and len(result.models) > MAX_LISTED:
        raise EngineUnavailable(
            "It lists {n} models; choose those to be used, on Models or with `q2q serve add"
            " --offers`.",
            n=len(result.models),
        )
    if engine.offers is None:
        return result
    listed = {one.name: one for one in result.models}
    kept = (listed.get(one, OfferedModel(name=one, context_length=None)) for one in engine.offers)
    return replace(result, models=tuple(kept))


def price_of(engine: EngineRow, name: str) -> Price | None:
    """Return what people say that a model costs there."""
    told = (engine.offers or {}).get(name)
    return Price(told["input"], told["output"]) if told else None


def tokenizer_of(engine: EngineRow, result: ProbeResult) -> PromptTokenizer | None:
    """Return its tokenizer where prompts can be sent as ids; otherwise they go as text."""
    if engine.tokenizer_path is None or not result.capabilities.token_ids:
        return None
    return PromptTokenizer.load(Path(engine.tokenizer_path).expanduser())
