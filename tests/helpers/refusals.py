"""Configs with one faulty key, and the error that each is refused with."""

import pytest

from dreambirds.errors import UserError
from dreambirds.plan.plan import make_plan
from dreambirds.startup.memory_profile import check_models
from dreambirds.startup.preflight import missing_download
from tests.helpers.studies import tiny

REMOVED = object()  # removes the key


def changed_config(changes: dict) -> dict:
    """Return the tiny study, changed at paths such as ``runs/scratch/epochs``."""
    config = tiny()
    for path, value in changes.items():
        *parents, key = path.split("/")
        section = config
        for parent in parents:
            section = section.setdefault(parent, {})
        if value is REMOVED:
            del section[key]
        else:
            section[key] = value
    return config


def refusal(config: dict) -> str:
    """Run the checks of the Snakefile before the first job; return their error."""
    with pytest.raises(UserError) as error:
        missing_download(config)
        check_models(make_plan(config))
    return str(error.value)
