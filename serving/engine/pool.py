"""Equal servers as one model: what all of them can do, and where else it is served."""

from collections.abc import Sequence
from dataclasses import replace

from serving.engine.client import ServedModel


def pooled(models: Sequence[ServedModel]) -> ServedModel:
    """Return one version that several servers offer, as one model with replicas.

    What shapes a slot or its result is only as much as each of them can do: a slot is the same
    wherever it is sampled. How requests are grouped and ordered stays each server's own matter.

    A server that takes messages alone renders them by a template that nobody knows here: it takes
    no part beside servers that take rendered prompts.

    Args:
        models: The version on each server, at least one.
    """
    models = [one for one in models if one.capabilities.completions] or models
    if len(models) == 1:
        return models[0]
    can = [one.capabilities for one in models]
    lengths = [one.context_length for one in models if one.context_length is not None]
    refused = tuple(dict.fromkeys(name for one in can for name in one.refused_fields))
    tokenizer = next((one.tokenizer for one in models if one.tokenizer is not None), None)
    equal = [
        replace(
            one,
            tokenizer=tokenizer,
            context_length=min(lengths, default=None),
            capabilities=replace(
                one.capabilities,
                token_ids=all(each.token_ids for each in can),
                n=all(each.n for each in can),
                prompt_list=all(each.prompt_list for each in can),
                seed=all(each.seed for each in can),
                prompt_logprobs=all(each.prompt_logprobs for each in can),
                chat=all(each.chat for each in can),
                system_messages=all(each.system_messages for each in can),
                refused_fields=refused,
            ),
        )
        for one in models
    ]
    return replace(equal[0], replicas=tuple(equal[1:]))
