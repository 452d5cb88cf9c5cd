"""Sections of a config, with all defaults."""

from dreambirds.config.load import check


def section(**changes) -> dict:
    """Return a run's section with all defaults, for a tiny model."""
    config = {"runs": {"a": {"model": "test_resnet", "batch_size": 8, **changes}}, "dreams": {"recipes": {"a": {}}}}
    check(config, "config")
    return config["runs"]["a"]
