"""Targets of dreams that are not classes: channels, neurons and directions of a layer, and interpolations."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dreambirds.config.load import Section, check_path_characters
from dreambirds.data.labels import Label, choose_labels
from dreambirds.data.names import readable, transliterated
from dreambirds.dreaming.objectives import needs_photographs, scores_target
from dreambirds.dreaming.targets import MIDDLE
from dreambirds.errors import UserError, error_context, in_yaml
from dreambirds.io import expand

WHERE = "dreams.targets"
KINDS = ("channels", "neurons", "directions", "between")
MOST = 10_000  # targets of a study
RANGE = re.compile(r"(?P<first>\d{1,9})(-(?P<last>\d{1,9}))?")
DEPTH = re.compile(r"(\d{1,2}(\.\d+)?|100(\.0+)?)%")
DIGITS = 3  # of the weight of an interpolation


@dataclass(frozen=True)
class Target:
    """A target that is not one class: its `label`, which is safe in paths, its display `name`, and what it is.

    `facts` is JSON data. Units of a layer have a ``layer``, and either ``channels``, a mapping from a channel's number
    to its weight, or a ``direction``, the path of a file, and the name of the ``vector`` in it; a neuron also has a
    ``position``. Weighted ``classes`` map labels to weights. An interpolation has the name of its pair, ``between``,
    and its ``weight``, from 0 (the first of the pair) to 1.
    """

    label: str
    name: str
    facts: Section

    @property
    def is_unit(self) -> bool:
        """Whether it consists of units of a layer, not of classes."""
        return "layer" in self.facts


def list_targets(given: Sequence[Section], labels: list[Label]) -> dict[str, Target]:
    """Return the targets of the config's section by label, each once, in their order.

    `labels` are the study's classes. Raises UserError, with the key's full path, for a target that does not exist as
    far as is known without the network, or if two targets have the same label.
    """
    targets: dict[str, Target] = {}
    classes = {label.label for label in labels}
    for number, section in enumerate(given):
        with error_context(f"{WHERE}.{number}"):
            for target in _targets(section, labels):
                known = targets.setdefault(target.label, target)
                if known.facts != target.facts or target.label in classes:
                    problem = f"'{target.name}' has the label '{target.label}', which another target or class has too"
                    raise UserError(f"{problem}; remove one of them")
    if len(targets) > MOST:
        raise UserError(f"lists {len(targets)} targets, more than {MOST}; list fewer", WHERE)
    return targets


def _targets(section: Section, labels: list[Label]) -> Iterator[Target]:
    kinds = [kind for kind in KINDS if section[kind] is not None]
    if len(kinds) != 1:
        found = " and ".join(f"'{kind}'" for kind in kinds) or "none"
        listed = ", ".join(f"'{kind}'" for kind in KINDS)
        raise UserError(f"needs exactly one of the keys {listed}, but has {found}")
    (kind,), layer = kinds, section["layer"]
    if layer is None and kind != "between":
        raise UserError(
            f"is required with '{kind}'; set it to the name of a module, or to a depth such as 75%", "layer"
        )
    if layer is not None and layer.endswith("%") and not DEPTH.fullmatch(layer):
        raise UserError(f"'{layer}' is not a depth; use 0% to 100%, or the name of a module", "layer")
    if section["weights"] is not None and kind != "between":
        raise UserError("is only used with 'between'; remove it", "weights")
    with error_context(kind):
        if kind == "between":
            yield from _between(section, labels)
        elif kind == "directions":
            yield from _directions(layer, section[kind])
        else:
            yield from _units(layer, kind, section[kind])


def _units(layer: str, kind: str, given: object) -> Iterator[Target]:
    """Yield the channels of numbers and ranges, or the neurons, which may be lists of a channel and a position."""
    unit, places = kind.removesuffix("s"), given if isinstance(given, list) else [given]
    for place in places:
        if kind == "neurons" and isinstance(place, list):
            if len(place) != 3 or any(type(part) is not int or part < 0 for part in place):
                raise UserError(f"{in_yaml(place)} is not allowed; write [CHANNEL, Y, X], with numbers of at least 0")
            channels, position = [place[0]], place[1:]
        else:
            channels, position = numbers([place]), []
        for channel in channels:
            facts: Section = {"layer": layer, "channels": {str(channel): 1.0}}
            facts |= {"position": position or MIDDLE} if kind == "neurons" else {}
            text = ":".join(map(str, (channel, *position)))
            yield Target(f"{layer_label(layer)}_{unit}{text.replace(':', '_')}", f"{layer} {unit} {text}", facts)


def numbers(given: Sequence[object]) -> list[int]:
    """Return the numbers of a list of numbers and ranges such as ``0-63``. Raises UserError for something else."""
    found: list[int] = []
    for item in given:
        written = RANGE.fullmatch(str(item).strip())
        first = int(written["first"]) if written else 0
        last = int(written["last"] or first) if written else -1
        if not first <= last < first + MOST:
            raise UserError(f"{in_yaml(item)} is not allowed; list numbers from 0, or ascending ranges such as 0-63")
        found += range(first, last + 1)
    return found


def _directions(layer: str, given: str) -> Iterator[Target]:
    from dreambirds.data.vectors import read_vectors  # imports numpy, which planning does without otherwise

    path = expand(given)
    check_path_characters(path, "file")
    for name in read_vectors(path):
        label = path_safe(f"{path.stem}_{name}" if name.isdecimal() else name)
        facts = {"layer": layer, "direction": given, "vector": name}
        yield Target(f"{layer_label(layer)}_{label}", f"{layer} {readable(path.stem)} {readable(name)}", facts)


def _between(section: Section, labels: list[Label]) -> Iterator[Target]:
    """Yield the targets from the first to the second of a pair of classes or channels, for each weight."""
    layer, ends = section["layer"], section["between"]
    if layer is None:
        found = [choose_labels(labels, [str(end)], None)[0] for end in ends]
        units, kind = [label.label for label in found], "classes"
        stem, name = "_to_".join(units), " to ".join(label.name for label in found)
    else:
        units, kind = [str(channel) for channel in numbers(ends)], "channels"
        stem, name = f"{layer_label(layer)}_channel{'_to_'.join(units)}", f"{layer} channel {' to '.join(units)}"
    if len(set(units)) != 2 or len(units) != 2:
        raise UserError(f"must be two different classes, or two channels of a layer, not {in_yaml(ends)}")
    for weight in _weights_between(section["weights"]):
        shares = {units[0]: round(1 - weight, DIGITS), units[1]: weight}
        facts = {**({"layer": layer} if layer else {}), kind: shares, "between": stem, "weight": weight}
        yield Target(f"{stem}_{round(weight * 10**DIGITS):04d}", f"{name}, {weight:g}", facts)


def _weights_between(given: int | list[float] | None) -> list[float]:
    """Return weights from 0 to 1: those of a list, or so many at equal distances, by default 9."""
    if isinstance(given, list):
        return list(dict.fromkeys(round(float(weight), DIGITS) for weight in given))
    count = 9 if given is None else given
    return [round(number / (count - 1), DIGITS) for number in range(count)]


def layer_label(layer: str) -> str:
    """Return the name of a layer for a label: ``layer75`` for the depth 75%, and ``blocks_4_2`` for ``blocks.4.2``."""
    return f"layer{path_safe(layer)}" if layer.endswith("%") else path_safe(layer)


def path_safe(text: str) -> str:
    """Return a text in ASCII, with underscores in place of everything that is not a letter or digit."""
    return re.sub(r"[^A-Za-z0-9]+", "_", transliterated(text)).strip("_") or "unnamed"


def examples(units: Iterable[Target]) -> list[Target]:
    """Return units that stand for all in checks of a network.

    They are, of each layer and position, the one with the highest channel, and the first vector of each file.
    """
    found: dict[tuple[str, ...], Target] = {}
    for target in units:
        facts = target.facts
        key = tuple(str(facts.get(part)) for part in ("layer", "position", "direction"))
        if key not in found or _highest(facts) > _highest(found[key].facts):
            found[key] = target
    return list(found.values())


def _highest(facts: Section) -> int:
    return max(map(int, facts.get("channels", ())), default=0)


def interpolations(targets: Iterable[Target]) -> dict[str, tuple[str, float]]:
    """Return the pair and the weight of each target that is part of an interpolation, by label."""
    found = (target for target in targets if "between" in target.facts)
    return {target.label: (target.facts["between"], target.facts["weight"]) for target in found}


def pair_names(targets: Iterable[Target]) -> dict[str, str]:
    """Return the display name of each interpolation, such as ``goldfinch to jay``, by the name of its pair."""
    found = (target for target in targets if "between" in target.facts)
    return {target.facts["between"]: target.name.rpartition(", ")[0] for target in found}


def vector_files(targets: Iterable[Target]) -> list[str]:
    """Return the paths of the files of directions, each once."""
    files = (str(expand(target.facts["direction"])) for target in targets if "direction" in target.facts)
    return list(dict.fromkeys(files))


def check_recipes_of_targets(recipes: Mapping[str, Section], targets: Mapping[str, Target]) -> None:
    """Raise UserError if a recipe cannot dream of targets that are not classes."""
    kinds = {target.is_unit: target for target in reversed(list(targets.values()))}.values()
    for name, point in recipes.items():
        for target in kinds:
            if found := _unsuitable(point, target):
                key, problem = found
                raise UserError(f"{problem}; use another recipe, or remove the target", f"dreams.recipes.{name}.{key}")


def _unsuitable(point: Section, target: Target) -> tuple[str, str] | None:
    """Return the key of a recipe that cannot dream of a target, and why; None if it can."""
    is_not, objective, start = (
        f"'{target.name}' (dreams.targets) is not one",
        in_yaml(point["objective"]),
        point["start"],
    )
    if needs_photographs(point["objective"]):
        return "objective", f"{objective} compares dreams with photographs of a class, and {is_not}"
    if not scores_target(point["objective"]):
        return (
            "objective",
            f"{objective} does not score the target of a dream, such as '{target.name}' (dreams.targets)",
        )
    if start == "class_mean" or (start == "photograph" and point["start_path"] is None):
        return "start", f"'{start}' is that of a class, and {is_not}"
    if point["stop_confidence"] is not None:
        return "stop_confidence", f"is the probability of a class, and {is_not}"
    if point["committee"] and target.is_unit:
        return "committee", f"the other networks have other channels than '{target.name}' (dreams.targets)"
    return None
