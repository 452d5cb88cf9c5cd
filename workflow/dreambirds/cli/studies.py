"""Commands that begin, check and maintain studies."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreambirds.plan.plan import Plan

MUST_DOWNLOAD = 3  # exit status of `check --study` if the data set must be downloaded before the study can start


def check(options: argparse.Namespace) -> None:
    """Check a config and the models of its study, and print the number of dreams (with --study: the study's name)."""
    from dreambirds.config.load import study_of

    config = _read_config(options.configs[0])
    for path in options.configs[1:]:
        from snakemake.utils import update_config

        update_config(config, _read_config(path))
    if options.study:
        from dreambirds.data.sources.catalog import missing

        print(study_of(config))
        if missing(config):
            sys.exit(MUST_DOWNLOAD)
        return
    from dreambirds.plan.plan import make_plan
    from dreambirds.runtime.machine import cpu_count
    from dreambirds.startup.preflight import announce_study, missing_download

    resource = missing_download(config)
    if resource:
        print(
            "The data set is missing, so the study's classes are not known yet; "
            f"run the study to download {resource.title} to '{resource.place}'"
        )
    else:
        plan = make_plan(config)
        _check_models(plan)
        announce_study(plan, cpu_count())


def _check_models(plan: "Plan") -> None:
    from dreambirds.plan.measurements import is_measured

    if find_spec("torch") is None or find_spec("timm") is None:
        print("torch or timm is not installed here, so models are not checked; the study's first job checks them")
    elif not is_measured(plan):
        from dreambirds.startup.memory_profile import check_models

        check_models(plan)


def init(options: argparse.Namespace) -> None:
    """Write a config for a folder of photographs or of checkpoints, with what was found as comments."""
    from dreambirds.startup.new_study.write import write_config

    write_config(options.folder, options.output, options.photographs)


def store_gc(options: argparse.Namespace) -> None:
    """Remove the least recently used entries of the store (results/.store or $DREAMBIRDS_STORE) until it is within the
    limit."""
    from dreambirds.dream_job.store_gc import evict_to

    print(evict_to(options.limit, "--limit"))


def reference(_options: argparse.Namespace) -> None:
    """Generate config/README.md and the presets in docs/recipes.md from the YAML files."""
    from dreambirds.config.reference import write_reference

    write_reference(Path())


def _read_config(path: Path) -> dict:
    import yaml

    from dreambirds.config.load import check_file

    check_file(path)
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _add_check(parser: argparse.ArgumentParser) -> None:
    about = "paths of a study's YAML files; keys of later files replace those of earlier ones, as with --configfile"
    parser.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help=about)
    parser.add_argument(
        "--study",
        action="store_true",
        help="print only the study's name; status 3 means that its data set must be downloaded first",
    )


def _add_init(parser: argparse.ArgumentParser) -> None:
    about = "folder of photographs, one subfolder per class, or of checkpoints of any training, or one checkpoint"
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=about)
    about = "path of the config, - to print it; the default is FOLDER's name, in config/ if that folder exists"
    parser.add_argument("-o", "--output", metavar="CONFIG", help=about)
    about = "for checkpoints: the photographs that they were trained on"
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help=about)


def _add_store_gc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", required=True, metavar="SIZE", help="maximum size of the store, such as 500MB or 20GB"
    )


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    pass


COMMANDS = {
    "check": (check, _add_check, "dreambirds check config/config.yaml"),
    "init": (init, _add_init, "dreambirds init my/photographs"),
    "store-gc": (store_gc, _add_store_gc, "dreambirds store-gc --limit 20GB"),
    "reference": (reference, _add_nothing, "dreambirds reference"),
}
