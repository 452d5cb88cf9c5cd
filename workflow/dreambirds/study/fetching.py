"""Whether a study has photographs to fetch before it can be planned, since they tell its classes."""

import copy
import sys

from dreambirds.data.fetch import Resource, missing
from dreambirds.study.plan import check_all_but_labels
from dreambirds.study.schema import Section, check


def first_fetch(config: Section) -> Resource | None:
    """Return what must be fetched before the study can be planned, None if nothing. `config` is not changed.

    Raises StudyError for all that can be told to be wrong without the data, so that no typo waits for a download.
    """
    config = copy.deepcopy(config)
    check(config, "config")
    resource = missing(config)
    if resource:
        check_all_but_labels(config)
    return resource


def announce_fetch(resource: Resource) -> None:
    """Say on standard error, in one line, what this run does and what the next one will do."""
    print(
        f"The photographs are not here yet: this fetches {resource.title} to {resource.place}; "
        "then the same command again trains and dreams.",
        file=sys.stderr,
    )
