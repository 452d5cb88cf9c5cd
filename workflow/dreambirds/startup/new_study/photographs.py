"""Look at a folder of photographs, and write the parts of a config that fit it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from dreambirds.data.image_files import find_photographs, is_junk
from dreambirds.data.image_kinds import HEAD, PICTURES, kind_of
from dreambirds.data.labels import Label
from dreambirds.data.names import escaped
from dreambirds.data.sources import catalog  # noqa: F401 - registers all sources
from dreambirds.data.sources.source import Photograph, Source, by_strictness, open_photograph
from dreambirds.data.sources.tree import Tree
from dreambirds.errors import UserError, counted

DEEPEST = 3  # levels of folders below the given one in which class folders are searched
SAMPLE = 400  # photographs whose sizes are read
DATASET = {"labels": None, "split": "given", "crop_margin": None, "min_photographs": 2}


@dataclass
class Photographs:
    """A folder of photographs: its source and path, the photographs of each class that has enough of them by label, and
    what was left out, as sentences.

    `sizes` are the (width, height) of a sample, in pixels.
    """

    source: str
    path: Path
    labels: dict[Label, int]
    left_out: list[str] = field(default_factory=list)
    split: str = "given"
    sizes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of photographs."""
        return sum(self.labels.values())

    def __str__(self) -> str:
        """Return what was found as text."""
        numbers = sorted({min(self.labels.values()), max(self.labels.values())})
        facts = f"{' to '.join(map(str, numbers))} per class"
        if self.sizes:
            facts += f", {' x '.join(str(round(median(sides))) for sides in zip(*self.sizes, strict=True))} pixels"
        what = f"{counted(self.count, 'photograph')} of {counted(len(self.labels), 'class')}"
        return f"{what} in '{escaped(str(self.path))}' ({facts})"


def look_for_photographs(folder: Path) -> Photographs | None:
    """Return the photographs of at least two classes in a folder, or in one below it; None if it has no photograph.

    Raises UserError if there are photographs, but not as one folder per class.
    """
    level = [folder]
    for _ in range(DEEPEST):
        fitting = [found for path in level if (found := _read_layout(path))]
        if fitting:
            chosen = max(fitting, key=lambda found: (found.path.name.casefold() in ("train", "training"), found.count))
            others = [str(found.path) for found in fitting if found is not chosen]
            chosen.left_out += [f"the folder '{other}', which has class folders, too" for other in others]
            return chosen
        level = [inner for path in level for inner in _subfolders(path)]
    _refuse(folder)
    return None


def _refuse(folder: Path) -> None:
    """Raise UserError if there are photographs in a folder, which do not form at least two classes in one folder."""
    found, level = [], [folder]
    for _ in range(DEEPEST + 2):
        found += [path for path in level if find_photographs(path)]
        level = [inner for path in level for inner in _subfolders(path)]
    if len(found) == 1 and folder in found:
        raise UserError(f"'{folder}' has photographs, but no class folders; put those of each class into a subfolder")
    if len(found) == 1:
        raise UserError(f"'{folder}' has photographs of only one class, in '{found[0]}'; add another class folder")
    if found:
        some = f"{counted(len(found), 'folder')}, such as '{found[0]}' and '{found[1]}'"
        remedy = "put the class folders, each with at least 2 photographs, into one folder"
        raise UserError(f"'{folder}' has photographs in {some}, but not two classes in one folder; {remedy}")


def _read_layout(path: Path) -> Photographs | None:
    """Return the photographs at a path, by the strictest source that finds two classes, else None."""
    for source in reversed(by_strictness()):
        try:
            tree = source.find(path) if source.needs_path else None
            found = tree and source.has_photographs(tree) and _count(source, tree, path if tree.zipped else tree.file)
        except (UserError, OSError):
            continue
        if found and len(found.labels) > 1:
            return found
    return None


def _count(source: Source, tree: Tree, path: Path) -> Photographs:
    """Return the photographs of a source, without the classes that have too few."""
    dataset = {**DATASET, "source": source.name, "path": str(path)}
    labels = source.labels(tree, dataset)
    if any(validation and not training for training, validation in source.count(tree, dataset, labels, 1).values()):
        dataset["split"] = "random"  # a class of `val` is missing in `train`
    listed = [each for each in source.photographs(tree, dataset, labels) if not each.problem]
    photographs = [each for each in listed if _is_photograph(each)]
    sizes, unreadable = _sample(photographs)
    totals = Counter(each.label for each in photographs)
    trained = Counter(each.label for each in photographs if each.part != "validation")
    bad = Counter(each.label for each in unreadable)
    # two photographs of which one is for validation if the split is drawn, or one for training if it is given
    kept = {label: totals[label] for label in labels if totals[label] - bad[label] > 1 and trained[label] > bad[label]}
    found = Photographs(source.name, path, kept, split=dataset["split"], sizes=sizes)
    junk = [name for name in tree.listing()[0] if is_junk(name) and not name.startswith(".")]
    found.left_out += [f"the folder '{name}', which a system or browser created" for name in junk]
    for label in (label for label in labels if label not in kept):
        few = counted(totals[label] - bad[label], "readable photograph")
        found.left_out.append(f"the folder '{label.folder}', with {few}")
    if unreadable:
        names = ", ".join(str(each.file / each.member) for each in unreadable[:3])
        found.left_out.append(f"{counted(len(unreadable), 'file')} that cannot be read, such as {names}")
    known = set(photographs)
    endings = Counter(each.file.suffix.lower() or "no ending" for each in listed if each not in known)
    if endings:
        names = ", ".join(f"{number} {ending}" for ending, number in endings.most_common(5))
        found.left_out.append(
            f"{counted(endings.total(), 'file')} in class folders, which are not photographs ({names})"
        )
    return found


def _is_photograph(photograph: Photograph) -> bool:
    try:
        with open_photograph(photograph) as file:
            return kind_of(file.read(HEAD), photograph.file.name) in PICTURES
    except (OSError, ValueError):
        return False


def _sample(photographs: list[Photograph]) -> tuple[list[tuple[int, int]], list[Photograph]]:
    """Return the (width, height) of a sample of photographs, and those whose header cannot be read.

    The sample has the first photographs of every class, so classes with few are read completely.
    """
    from dreambirds.data.image_io import open_image

    seen: Counter[Label] = Counter()
    classes = len({each.label for each in photographs})
    sizes, unreadable = [], []
    for each in photographs:
        seen[each.label] += 1
        if seen[each.label] <= max(3, SAMPLE // max(classes, 1)):
            try:
                with open_photograph(each) as file, open_image(file) as image:
                    sizes.append(image.size)
            except Exception:  # decoders fail in many ways
                unreadable.append(each)
    return sizes, unreadable


def _subfolders(path: Path) -> list[Path]:
    try:
        return sorted(inner for inner in path.iterdir() if inner.is_dir() and not is_junk(inner.name))
    except OSError:
        return []
