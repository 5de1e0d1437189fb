"""Models of the hub: fetched once, and found in the cache without a network."""

import re
from pathlib import Path

from serving.models.tensor_files import ModelError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WANTED = ["*.safetensors", "*.json", "*.jinja"]
_UNWANTED = ["*/*", "consolidated*"]
"""Other builds of the same weights."""


def is_hub_id(source: str) -> bool:
    """Say whether ``source`` has the form ``owner/name``."""
    return _HUB_ID.fullmatch(source) is not None


def fetch_snapshot(hub_id: str, revision: str | None = None) -> Path:
    """Return the folder of a hub model, downloaded unless it is cached; it is named by its commit.

    Without a network a cached snapshot is used.

    Raises:
        ModelError: it cannot be had; the sentence says why and what to do.
    """
    # Most commands ask no hub, and start sooner without its client.
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
            )
        )
    except GatedRepoError as error:
        raise ModelError(
            "The hub asks you to accept the terms of {hub_id}. Accept them at "
            "https://huggingface.co/{hub_id}, then run `hf auth login`.",
            hub_id=hub_id,
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            "The hub has no model {hub_id}, or it is private. Check the name; "
            "for a private one run `hf auth login`.",
            hub_id=hub_id,
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            "Model {hub_id} has no revision {revision}. Check its name.",
            hub_id=hub_id,
            revision=revision,
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            "Model {hub_id} is not cached here and the hub cannot be reached. "
            "Connect to the network, or give a local folder.",
            hub_id=hub_id,
        ) from error
    except HFValidationError as error:
        raise ModelError(
            "{hub_id!r} is no hub id: give it as owner/name.", hub_id=hub_id
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            "Fetching {hub_id} failed ({reason}). Try again; what was fetched so far is kept.",
            hub_id=hub_id,
            reason=reason,
        ) from error
