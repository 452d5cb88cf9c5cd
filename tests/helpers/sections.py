"""Config sections with all defaults."""

from dreambirds.config.load import check


def section(**changes) -> dict:
    """Return the config section of a run of a tiny model, with all defaults and some changes."""
    config = {"runs": {"a": {"model": "test_resnet", "batch_size": 8, **changes}}, "dreams": {"recipes": {"a": {}}}}
    check(config, "config")
    return config["runs"]["a"]
