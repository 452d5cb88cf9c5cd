"""Configs that are spoilt at one place, and the sentence that each is refused with."""

import pytest

from dreambirds.errors import UserError
from dreambirds.plan.plan import make_plan
from dreambirds.startup.memory_profile import profile_memory
from dreambirds.startup.preflight import missing_download
from tests.helpers.studies import tiny

BACK = object()  # the key goes


def spoilt(changes: dict) -> dict:
    """Return the tiny study with other values at paths such as ``runs/scratch/epochs``."""
    config = tiny()
    for path, value in changes.items():
        *parents, key = path.split("/")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is BACK:
            del place[key]
        else:
            place[key] = value
    return config


def refusal(config: dict) -> str:
    """Do what is done before the first job, as the Snakefile does; return the sentence that the config is refused
    with."""
    with pytest.raises(UserError) as error:
        missing_download(config)
        profile_memory(make_plan(config))
    return str(error.value)
