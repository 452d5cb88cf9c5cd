"""Model cards: what a checkpoint is, how to load it elsewhere, and what it dreams."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from dreambirds.config.recipes import expand_grid
from dreambirds.data.sources.catalog import has_photographs
from dreambirds.data.tables import read_history, read_labels, read_table
from dreambirds.dream_job.archive import read_dreams
from dreambirds.dream_job.image_files import save_png
from dreambirds.errors import one_line
from dreambirds.figures.montage import Grid, montage, title_of
from dreambirds.figures.selection import Selection
from dreambirds.models import CONFIG_FILE
from dreambirds.models.checkpoint import CheckpointInfo
from dreambirds.models.classifier import Classifier
from dreambirds.models.names import OWN, TORCHVISION, split_name
from dreambirds.plan.inputs import family_of
from dreambirds.plan.paths import HISTORY_FILE
from dreambirds.shapes import shape_of, shape_text

CARD, DREAMS = "README.md", "dreams"
MARK = "<!-- written by `dreambirds export` -->"
TEMPLATES = Path(__file__).parent / "cards"
MOST_CLASSES = 12  # of a montage
SPECIAL = re.compile(r"([\\`*_\[\]<>|#&])")  # characters that Markdown interprets
LOCAL = ("start_path",)  # parameters that contain paths of this machine


@dataclass(frozen=True)
class Exported:
    """A checkpoint that is exported.

    The study's results folder and its config, the checkpoint's folder, what it contains, and the repository on the hub
    that it is written for, if any.
    """

    study: Path
    config: Mapping[str, Any]
    checkpoint: Path
    classifier: Classifier
    info: CheckpointInfo
    repository: str | None

    @property
    def section(self) -> Mapping[str, Any]:
        """The section of the run in the config, or that of the judge which was trained in it."""
        run = self.info.run
        judge = self.config["judges"].get(run) or {}
        return self.config["runs"].get(run) or judge.get("train") or {}

    @property
    def timm_config(self) -> dict[str, Any]:
        """The config that timm reads; empty for a model that timm does not know."""
        path = self.checkpoint / CONFIG_FILE
        if split_name(self.info.model)[0] in (OWN, TORCHVISION):
            return {}
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @property
    def model(self) -> str:
        """The name of the model: timm's architecture, or the name in the config."""
        return self.timm_config.get("architecture", self.info.model)

    @property
    def archives(self) -> dict[float, list[Path]]:
        """The archives of the run's dreams up to the checkpoint's epoch, by epoch in ascending order.

        Those of an epoch are in the order of the config's recipes.
        """
        found: dict[float, list[Path]] = {}
        for path in list_archives(self.study, self.config, self.info.run):
            found.setdefault(float(path.parents[1].name.removeprefix("epoch-")), []).append(path)
        return {epoch: found[epoch] for epoch in sorted(found) if epoch <= self.info.epoch}


def list_archives(study: Path, config: Mapping[str, Any], run: str) -> list[Path]:
    """Return the archives of a run's dreams, in the order of the config's recipes and, within one, of their paths."""
    order = list(config["dreams"]["recipes"])

    def position(path: Path) -> int:  # a point of a grid is named after its recipe
        recipe = path.parent.name
        return next((n for n, name in enumerate(order) if recipe == name or recipe.startswith(f"{name}-")), len(order))

    return sorted(sorted((study / "dreams" / run).glob("epoch-*/*/dreams*.zip")), key=position)


def write_card(exported: Exported, folder: Path) -> None:
    """Write ``README.md``, a model card with metadata for the hub, and its images in ``dreams/``."""
    names = class_names(exported)
    images, recipes = write_dreams(exported, names, folder)
    info, section, accuracy = exported.info, exported.section, validation_accuracy(exported)
    metadata = card_metadata(exported, accuracy)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=select_autoescape(),  # off for Markdown, for which names are escaped below
    )
    text = environment.get_template("model_card.md.j2").render(
        metadata=metadata.to_yaml(),
        mark=MARK,
        info=info,
        model=exported.model,
        section=section,
        study=exported.config["study"],
        source=exported.config["dataset"]["source"],
        photographs=has_photographs(exported.config["dataset"]),
        timm=bool(exported.timm_config),
        classes=[SPECIAL.sub(r"\\\1", one_line(names[label])) for label in info.labels],
        labels=list(info.labels),
        accuracy=None if accuracy is None else f"{accuracy:.3f}",
        counts=image_counts(exported.study),
        parameters=sum(each.numel() for each in exported.classifier.parameters()),
        shape=shape_of(info.image_size),
        size=shape_text(shape_of(info.image_size)),
        mean=shortest(exported.classifier.mean),
        std=shortest(exported.classifier.std),
        repository=exported.repository,
        build=build_code(info, exported.classifier.mean.numel()),
        images=images,
        recipes=yaml.safe_dump(recipes, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120),
        licensed=metadata.license is not None,
    )
    (folder / CARD).write_text(text, encoding="utf-8")


def build_code(info: CheckpointInfo, channels: int) -> tuple[str, str] | None:
    """Return the import and the call that build a network which timm does not know.

    The result is None if the network is not what its library builds: torchvision's with one channel, or without
    auxiliary heads.
    """
    origin, _, name = info.model.partition(":")
    options = {key: value for key, value in info.model_options.items() if key != "in_chans"}
    if origin != "torchvision":
        return f"from {origin} import {name.partition('.')[0]}", _call(
            name, len(info.labels), in_chans=channels, **options
        )
    if channels != 3 or name in ("googlenet", "inception_v3"):
        return None
    sized = {"image_size" if key == "img_size" else key: value for key, value in options.items()}
    return "from torchvision import models", _call(f"models.{name}", len(info.labels), **sized)


def _call(function: str, classes: int, **arguments: object) -> str:
    named = ", ".join(f"{key}={value!r}" for key, value in {"num_classes": classes, **arguments}.items())
    return f"{function}({named})"


def card_metadata(exported: Exported, accuracy: float | None) -> ModelCardData:
    """Return the metadata of the card: what the hub shows and searches.

    There is a license only if the run started from the hub's weights, whose license timm knows.
    """
    info, config = exported.info, exported.timm_config
    title = f"{info.run}, epoch {info.epoch}"
    licensed = exported.section.get("weights") == "hub"
    measured = {
        "task_type": "image-classification",
        "dataset_type": exported.config["dataset"]["source"],
        "dataset_name": f"validation photographs of the study {exported.config['study']}",
        "metric_type": "accuracy",
    }
    return ModelCardData(
        library_name="timm" if config else None,
        license=config.get("pretrained_cfg", {}).get("license") if licensed else None,
        pipeline_tag="image-classification",
        tags=[
            "image-classification",
            *(["timm", "transformers"] if config else []),
            "dreambirds",
            "feature-visualization",
        ],
        metrics=["accuracy"],
        model_name=title,
        eval_results=None if accuracy is None else [EvalResult(**measured, metric_value=round(accuracy, 4))],
    )


def class_names(exported: Exported) -> dict[str, str]:
    """Return the display name of each label: that of the data set or of the dreams, else the label itself."""
    names = {}
    if (exported.study / "dataset" / "labels.csv").is_file():
        names = read_labels(exported.study / "dataset").set_index("label")["class_name"].to_dict()
    elif (exported.study / "dreams.csv").is_file():
        table = read_table(exported.study / "dreams.csv").drop_duplicates("label")
        names = table.set_index("label")["class_name"].to_dict()
    return {label: str(names.get(label, label)) for label in exported.info.labels}


def validation_accuracy(exported: Exported) -> float | None:
    """Return the validation accuracy that the checkpoint's history records, None if it was not measured."""
    path = exported.checkpoint / HISTORY_FILE
    if not path.is_file():
        return None
    value = read_history(path, exported.info.epoch).iloc[-1].get("validation_accuracy")
    return None if value is None or math.isnan(value) else float(value)


def image_counts(study: Path) -> dict[str, int] | None:
    """Return the study's numbers of images for training and validation, None if it has no data set."""
    if not (study / "dataset" / "labels.csv").is_file():
        return None
    return {part: int(total) for part, total in read_labels(study / "dataset")[["train", "validation"]].sum().items()}


def write_dreams(exported: Exported, names: Mapping[str, str], folder: Path) -> tuple[list[dict], dict[str, dict]]:
    """Write montages of the run's dreams at their recipes' last steps into ``dreams/`` of a folder.

    Return the paths and captions of the montages, and the recipes as in a config. The first montage shows the dreams
    of the checkpoint, with one row per recipe. The others show, for each recipe, the epochs up to it. All show the
    first 12 classes, and one dream seed per recipe. Without dreams of this epoch there is no montage.
    """
    study, epoch, archives = exported.config["study"], exported.info.epoch, exported.archives
    shared = {"run": exported.info.run, "last": True, "view": exported.config["pictures"]["view"]}
    if epoch not in archives:
        return [], {}
    now = Selection.of(study, archives[epoch], names, {**shared, "epoch": str(epoch)})
    steps = read_dreams(archives[epoch]).groupby("recipe")["step"].unique()
    parameters = {name: {**values, "steps": steps[name].tolist()} for name, values in now.facts()["recipes"].items()}
    count, parameters = len(parameters), one_seed_each(parameters)
    now = replace(now, dreams=now.dreams[now.dreams["recipe"].isin(parameters)])
    seeds = "" if len(parameters) == count else ", with one dream seed per recipe"
    shown = [(now, "recipe", "label", "recipe-by-class.png", f"Dreams of epoch {epoch}, by recipe and class{seeds}")]
    every = [path for paths in archives.values() for path in paths]
    for recipe in parameters:
        over = Selection.of(study, every, names, {**shared, "recipe": recipe})
        if over.dreams["epoch"].nunique() > 1:
            caption = f"Dreams of the recipe {recipe}, by class and epoch"
            shown.append((over, "label", "epoch", f"{recipe}_class-by-epoch.png", caption))
    for selection, rows, columns, name, _ in shown:
        _write_montage(selection, rows, columns, exported.config["montage"]["cell_size"], folder / DREAMS / name)
    classes = now.dreams["label"].nunique()
    part = f" (the first {MOST_CLASSES} of {classes} classes)" if classes > MOST_CLASSES else ""
    images = [{"path": f"{DREAMS}/{name}", "caption": caption + part} for *_, name, caption in shown]
    return images, {name: recipe_section(values) for name, values in parameters.items()}


def one_seed_each(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the first one of all recipes that differ only in their seed, in order."""
    first: dict[str, str] = {}
    for name, values in recipes.items():
        first.setdefault(family_of(dict(values)), name)
    return {name: dict(recipes[name]) for name in first.values()}


def _write_montage(selection: Selection, rows: str, columns: str, cell: int, path: Path) -> None:
    """Write a montage of the first classes, whose metadata do not contain folders of this machine."""
    labels = selection.dreams["label"].unique()[:MOST_CLASSES]
    shown = replace(selection, dreams=selection.dreams[selection.dreams["label"].isin(labels)])
    grid = shown.grid(rows, columns)
    row_names = [shown.name_of(rows, value) for value in grid.index]
    column_names = [shown.name_of(columns, value) for value in grid.columns]
    title, facts = title_of(rows, columns), shown.facts()
    facts["recipes"] = {name: _public(values) for name, values in facts["recipes"].items()}
    page = Grid(grid.to_numpy().tolist(), row_names, column_names, title, shown.describe())
    save_png(montage(page, cell), path, title, facts)


def recipe_section(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe as in a config: its preset, its steps, and the values that differ from the preset's."""
    (usual,) = expand_grid("usual", {"preset": values["preset"]}).values()
    kept = {key: value for key, value in values.items() if key in ("preset", "steps") or value != usual.get(key)}
    return _public(kept)


def _public(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values without the folders of this machine."""
    return {key: Path(value).name if key in LOCAL and value else value for key, value in values.items()}


def shortest(tensor: torch.Tensor) -> list[float]:
    """Return the values of a float32 tensor as the shortest decimals that give the same values, such as 0.485."""
    return [float(str(value)) for value in tensor.flatten().numpy(force=True)]
