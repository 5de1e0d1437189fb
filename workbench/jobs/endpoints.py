"""Where servers that somebody else runs answer, and with which key."""

import os

from db.engines import EngineRow
from db.errors import UsageError
from db.server_keys import find_key
from db.settings import Settings, check_server_url
from serving.engine.messages import Endpoint


def endpoint_of(engine: EngineRow, settings: Settings) -> Endpoint:
    """Return where a server answers, with its key: from its variable, else as it is kept.

    Raises:
        UsageError: Its variable is not set or holds no key, or the kept keys cannot be read.
    """
    key = os.environ.get(engine.api_key_env, "").strip() if engine.api_key_env else None
    if engine.api_key_env and not key:
        raise UsageError(
            "The environment variable {api_key_env} with the key of {engine_name} is not"
            " set where the worker runs.",
            api_key_env=engine.api_key_env,
            engine_name=engine.name,
        )
    if key and not (key.isascii() and key.isprintable()):
        raise UsageError(
            "The environment variable {api_key_env} holds no key that can be sent: letters,"
            " digits and signs of ASCII on one line.",
            api_key_env=engine.api_key_env,
        )
    assert engine.url is not None
    check_server_url(engine.url)  # an older store may hold one with a password, masked here
    if key is None and (kept := find_key(settings.home_dir, engine.url)) is not None:
        key = kept[0]
    return Endpoint(url=engine.url, api_key=key, ca_file=settings.ca_file)
