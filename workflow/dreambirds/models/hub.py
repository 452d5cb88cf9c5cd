"""A hub of weights that says nothing: its client would try for a quarter of an hour, and others for ever."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from huggingface_hub import constants

PATIENCE = 20  # seconds for an answer
log = logging.getLogger(__name__)


@contextmanager
def patiently(patience: float = PATIENCE) -> Iterator[None]:
    """Give each answer of a server `patience` seconds; a hub that gives none is left alone, and its cache serves."""
    timeout, offline = socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE
    socket.setdefaulttimeout(patience)
    if not offline and is_silent(patience):
        log.warning("'%s' is silent for %g s; only what its cache has is used", constants.ENDPOINT, patience)
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
        constants.HF_HUB_OFFLINE = offline


def is_silent(patience: float) -> bool:
    """Tell whether the hub takes a question and gives no answer; one that can't be reached says so at once."""
    try:
        requests.head(constants.ENDPOINT, timeout=patience)
    except requests.Timeout:
        return True
    except requests.RequestException:
        return False
    return False
