"""Measurements of models and recipes: what determines each, and where it is stored.

The job `check` (`startup.memory_profile`) takes them, because planning does without torch. It keeps them in the store,
so that each is taken once, and writes those of a study into ``checked.json`` for `plan.memory`. It also records which
weights files fit.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from dreambirds.config.load import Section
from dreambirds.config.targets import examples
from dreambirds.io import atomic_write, digest_of, expand, store_entry, store_target
from dreambirds.models import NOT_FILES, PACKAGE
from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.names import model_files
from dreambirds.models.packages import package_of
from dreambirds.plan import inputs
from dreambirds.plan.plan import Plan
from dreambirds.runtime.code_version import code_digest, libraries, module_path
from dreambirds.runtime.timings import PASSES
from dreambirds.shapes import shape_of

FOUND = {
    "optimizer": ["per_byte"],
    "training": ["weights", "learning", "image"],
    "dreaming": ["image"],
    "weights": ["weights"],
    "judge": ["weights"],
}
CODE = ("startup.memory_profile", "dream_job.batches", "models.classifier", "models.inference")
Facts = dict[str, Any]  # JSON: what determines a measurement, or its result
Measurements = Mapping[str, Facts]  # results by the `key_digest` of what determines them
_known: dict[Path, Facts] = {}


def all_keys(plan: Plan) -> Iterator[Facts]:
    """Yield what determines each measurement and each check of a weights file that a plan needs."""
    for run in plan.networks:
        yield from profile_keys(plan, run)
    yield from judges(plan).values()


def profile_keys(plan: Plan, run: str) -> Iterator[Facts]:
    """Yield the keys of all measurements for a run's jobs."""
    if run in plan.trained:
        yield optimizer(plan, run)
    yield training(plan, run)
    yield from weights(plan, run).values()
    for recipe in dreamt_recipes(plan, run):
        yield dreaming(plan, run, recipe)


def dreamt_recipes(plan: Plan, run: str) -> list[str]:
    """Return the recipes that a run's network dreams, alone or in a committee."""
    in_committees = [recipe for (_, recipe), members in plan.committees.items() if run in members]
    return list(dict.fromkeys([*plan.dreaming_epochs.get(run, ()), *in_committees]))


def optimizer(plan: Plan, run: str) -> Facts:
    """Return what determines the size of an optimizer's state."""
    return {"measured": "optimizer", "optimizer": plan.trained[run]["optimizer"]}


def training(plan: Plan, run: str) -> Facts:
    """Return what determines the memory of one training image, or of one image in a network that is not trained."""
    keys = plan.networks[run]
    # adversarial training needs gradients through the whole network
    part = "head" if run in plan.foreign else "all" if keys["adversarial"]["epsilon"] else keys["trainable"]
    return {"measured": "training", **_model(plan, run), "trainable": part}


def dreaming(plan: Plan, run: str, recipe: str) -> Facts:
    """Return what determines the memory of a dream, of all its variants together."""
    keys = plan.recipes[recipe]
    settings = {key: keys[key] for key in (*PASSES, "reference_size")}
    settings["batch_norm_prior"] = keys["batch_norm_prior"] > 0
    if units := examples(target for target in plan.targets.values() if target.is_unit):
        settings["units"] = {unit.label: unit.facts for unit in units}
    if keys["variants"] > 1:
        settings |= {"variants": keys["variants"], "diversity_layer": keys["diversity"] and keys["diversity_layer"]}
    return {"measured": "dreaming", **_model(plan, run), "size": list(plan.shape(recipe)), **settings}


def weights(plan: Plan, run: str) -> dict[str, Facts]:
    """Return what determines whether each file of weights of a run fits, by the file as `build` takes it.

    These are the initial weights of a run that the study trains, or the checkpoints of one that was trained elsewhere,
    without weights from the hub and results of the same study.
    """
    keys = plan.networks[run]
    given = plan.foreign[run].values() if run in plan.foreign else ()
    files = [checkpoint.weights for checkpoint in given] if given else [keys["weights"]]
    facts = {}
    for file in files:
        if file == PACKAGE:
            facts[file] = {"measured": "weights", **_model(plan, run), "file": package_of(keys["model"]).sha256}
        elif file not in NOT_FILES and not _is_own_result(plan, file):
            states = {"file": _states(file), "weights_key": keys["weights_key"]}
            facts[file] = {"measured": "weights", **_model(plan, run), **states}
    return facts


def judges(plan: Plan) -> dict[str, Facts]:
    """Return what determines whether a judge's weights file fits, by judge.

    Checkpoints of the same study are excluded, because they may still change.
    """
    facts = {}
    for name, judge in plan.judges.items():
        file = judge["checkpoint"] or judge["weights"]
        if file and not _is_own_result(plan, file):
            weights: object = package_of(judge["model"]).sha256 if file == PACKAGE else _states(file)
            files = [weights, *(_states(path) for path in inputs.described(plan, name))]
            labels = [[label.label, label.name] for label in plan.labels]
            facts[name] = {"measured": "judge", "judge": judge, "files": files, "labels": labels}
    return facts


def _is_own_result(plan: Plan, file: str) -> bool:
    return expand(file).absolute().is_relative_to((Path("results") / plan.study).absolute())


def _states(file: str) -> list[list[Any]]:
    """Return the path, size and time of a file, or of the files of weights in a folder."""
    states = [(path.absolute(), path.stat()) for path in weights_files(expand(file))]
    return [[str(path), status.st_size, status.st_mtime_ns] for path, status in states]


def _model(plan: Plan, run: str) -> Facts:
    keys, shape = plan.networks[run], shape_of(plan.config["dataset"]["image_size"])
    model: Section = {key: keys[key] for key in ("model", "model_options", "head", "normalization")}
    files = [_states(str(path)) for path in model_files(keys["model"])]
    return {**model, "files": files, "classes": len(plan.class_names(run)[0]), "image_size": list(shape)}


def planned_check(plan: Plan) -> str:
    """Return a digest of all that the job `check` looks at: it runs again if the digest changes."""
    return digest_of([sorted({key_digest(key) for key in all_keys(plan)}), _measurer()])[:16]


def key_digest(key: Facts) -> str:
    """Return a digest of what determines a measurement."""
    return digest_of(key)[:32]


def measured(file: str) -> Measurements:
    """Return the measurements in a study's ``checked.json``.

    Raises FileNotFoundError with this name if the study is not checked yet: then Snakemake shows the memory of its jobs
    as ``<TBD>``, and asks again when the job `check` is done.
    """
    return _load(str(file), Path(file).stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(file: str, _changed: int) -> Measurements:
    found: Measurements = json.loads(Path(file).read_text(encoding="utf-8"))
    return found


def write_measured(plan: Plan, path: Path) -> None:
    """Add a plan's measurements, which were taken before, to a study's ``checked.json``.

    Those of its earlier configs stay, because a config that was checked before is not checked again.
    """
    earlier: Measurements = {}
    with contextlib.suppress(OSError, ValueError):
        earlier = dict(measured(str(path)))
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({**earlier, **stored(plan)}), encoding="utf-8")


def stored(plan: Plan) -> Measurements:
    """Return the measurements of a plan that the store contains."""
    return {key_digest(key): found for key in all_keys(plan) if (found := read(key)) is not None}


def is_measured(plan: Plan) -> bool:
    """Return whether the store contains all measurements and checks of weights files that a plan needs."""
    return all(read(key) is not None for key in all_keys(plan))


def read(key: Facts) -> Facts | None:
    """Return a measurement of the store, or None if it is missing; each file is read once."""
    path = _path(key)
    if path not in _known:
        try:
            found = dict(json.loads(path.read_text(encoding="utf-8"))["found"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if not all(name in found and _is_measured(key, found[name]) for name in FOUND[key["measured"]]):
            return None
        _known[path] = found
    return _known[path]


def _is_measured(key: Mapping[str, object], value: object) -> bool:
    if value is None:
        return key["measured"] == "dreaming"  # known only when dreaming
    return isinstance(value, (int, float)) and 0 <= value < math.inf


def note(key: Facts, found: Facts) -> None:
    """Keep a measurement in this process only."""
    _known[_path(key)] = found


def write(key: Facts, found: Facts) -> None:
    """Write a measurement to the store, or keep it in this process if that fails."""
    path = store_target("memory", _path(key).name)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"of": key, "found": found}), encoding="utf-8")
    note(key, found)


def _path(key: Facts) -> Path:
    return store_entry("memory", f"{digest_of([key, _measurer()])[:32]}.json").absolute()


@cache
def _measurer() -> list[str]:
    """Return the library versions and the code digest that measurements depend on."""
    return [*libraries("check").values(), code_digest(map(module_path, CODE))]
