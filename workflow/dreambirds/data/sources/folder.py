"""A folder with one subfolder per class, directly or below `train` and `val`, or a zip of it."""

from contextlib import suppress
from pathlib import Path

from dreambirds.data.labels import Label, make_labels
from dreambirds.data.names import escaped, folded, of_file, readable
from dreambirds.data.sources.classes import shortened
from dreambirds.data.sources.source import Photograph, Source, source
from dreambirds.data.sources.tree import Tree, find_below, open_archive
from dreambirds.errors import UserError, counted

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation", "dev", "eval")
TEST = ("test", "testing")
PARTS = ("train", "validation")
DEEPEST = 3  # folders in one another above those of the classes, as zips unpack


@source("folder")
class Folder(Source):
    """A folder with one subfolder per class, directly or below `train` and `val`, or a zip of it."""

    strictness = 1
    path_content = "a folder with one subfolder per class, or a zip of it"

    def find(self, path: Path) -> Tree | None:
        """Return the tree of a folder with at least two class folders, or a `train` with a `val`, else None.

        It may be the only such folder in the given one, such as a `train` without a `val`.
        """
        if not path.is_dir() and not _is_zip(path):
            return None
        tree = top = Tree(path, zipped=path.is_file())
        for _ in range(DEEPEST):
            if _fits(tree) or any(_has_picture(tree, name) for name in tree.folders()):
                return tree
            inner = find_below(tree, _fits)
            if inner is not None:
                return inner
            if len(tree.folders()) != 1:
                break
            tree = tree.below(tree.folders()[0])
        return top if len(top.folders()) > 1 else None

    def misfit(self, path: Path) -> str:
        """Return the end of an error: what was expected at the path."""
        if not path.is_dir() and not path.is_file():
            problem = "is neither a folder nor a file" if path.exists() else "does not exist"
            return f"{problem}; it must be {self.path_content}"
        if path.is_file() and not _is_zip(path):
            return f"is a file that is not a zip, or a corrupt one; it must be {self.path_content}"
        tree = Tree(path, zipped=path.is_file())
        hint, zips = "", [name for name in tree.files("") if name.lower().endswith(".zip")]
        if tree.count_pictures(""):
            hint = "; put the photographs of each class into a subfolder"
        elif zips:
            hint = f"; it contains '{escaped(zips[0])}': unpack it, or set the path to it"
        return f"must contain at least 2 subfolders, one per class, but has {len(tree.folders())}{hint}"

    def has_photographs(self, tree: Tree) -> bool:
        """Return whether any class has a photograph."""
        parts = _parts(tree).values() or [""]
        return any(_has_picture(tree, _join(part, name)) for part in parts for name in tree.folders(part))

    def labels(self, tree: Tree, dataset: dict) -> list[Label]:
        """Return the classes, by name; some may have no photograph.

        Raises UserError for folders whose names are the same on some file systems.
        """
        classes = _class_folders(tree)
        names = sorted({**classes.get("validation", {}), **classes["train"]}.values())
        texts = names if tree.zipped else map(of_file, names)
        return make_labels((text, readable(text), name) for text, name in zip(texts, names, strict=True))

    def photographs(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[Photograph]:
        """Return the files of these classes that may be photographs, training images first.

        A given split is that of the folders.
        """
        given = dataset["split"] == "given" and bool(_parts(tree))
        return [
            Photograph(label, *tree.locate(_join(folder, name)), part=part if given else "")
            for label, part, folder in _folders_of(tree, labels)
            for name in tree.files(folder)
        ]

    def count(self, tree: Tree, dataset: dict, labels: list[Label], enough: int) -> dict[Label, tuple[int, int]]:
        """Return the numbers of photographs of each class by their content, at most `enough` in each folder."""
        given, counts = dataset["split"] == "given", {label: [0, 0] for label in labels}
        for label, part, folder in _folders_of(tree, labels):
            counts[label][given and part == "validation"] += tree.count_pictures(folder, enough)
        return {label: (training, validation) for label, (training, validation) in counts.items()}

    def others(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[str]:
        """Return the files and folders in the folders of these classes that are left out without a row."""
        return [name for _, _, folder in _folders_of(tree, labels) for name in tree.left_out(folder)]

    def deeper(self, tree: Tree, label: Label) -> list[str]:
        """Return the subfolders of a class's folders that contain photographs."""
        folders = [folder for _, _, folder in _folders_of(tree, [label])]
        folders = [folder for folder in folders if not _is_loop(tree, folder)]
        inner = [_join(folder, name) for folder in folders for name in tree.folders(folder)]
        return [name for name in inner if _has_picture(tree, name)]

    def instead(self, tree: Tree, label: Label) -> str:
        """Return what the first file of a class without photographs is, as a clause, '' if that is unknown."""
        files = [_join(folder, name) for _, _, folder in _folders_of(tree, [label]) for name in tree.files(folder)]
        kind = tree.kind(files[0]) if files else ""
        return f"'{escaped(files[0])}' is {kind}" if kind else ""

    def notes(self, tree: Tree, dataset: dict) -> list[str]:
        """Return sentences about `test`, and about what is next to the class folders."""
        parts, found = _parts(tree), []
        tests = [name for name in tree.folders() if name.casefold() in TEST]
        if parts.get("validation") in tests:
            found.append(f"'{parts['validation']}' is used for validation, because there is no folder 'val'")
        elif parts and tests:
            found.append(f"'{tests[0]}' is not used: a study needs only training and validation")
        if parts and dataset["split"] == "given" and (without := _without_validation(tree)):
            names = shortened([f"'{escaped(name)}'" for name in without])
            found.append(f"{counted(len(without), 'class')} without photographs for validation: {names}")
        for folder in parts.values() or [""]:
            folders, files = tree.listing(folder)
            junk = [name for name in folders if name[:1] != "." and name not in tree.folders(folder)]
            found += [f"left out '{escaped(_join(folder, name))}', which the system created" for name in junk]
            links = [name for name in files if not tree.zipped and _is_broken(tree.locate(_join(folder, name))[0])]
            found += [f"left out '{escaped(_join(folder, name))}', a broken symbolic link" for name in links]
            if strays := tree.count_pictures(folder, 1000):
                place = f"directly in '{escaped(tree.full_name(folder))}'"
                belong = "which belongs" if strays == 1 else "which belong"
                found.append(f"left out {counted(strays, 'photograph')} {place}, {belong} to no class")
        return found


def _is_zip(path: Path) -> bool:
    try:
        return path.is_file() and bool(open_archive(path))
    except OSError:
        return False


def _fits(tree: Tree) -> bool:
    """Return whether a folder has a `train` and a `val`, or at least two folders with photographs."""
    if _parts(tree):
        return True
    with_pictures = (name for name in tree.folders() if _has_picture(tree, name))
    return next(with_pictures, None) is not None and next(with_pictures, None) is not None


def _has_picture(tree: Tree, name: str) -> bool:
    with suppress(PermissionError):  # another class may be readable
        return bool(tree.count_pictures(name))
    return False


def _is_loop(tree: Tree, folder: str) -> bool:
    """Return whether a class folder is a link to a folder that contains it."""
    return not tree.zipped and tree.file.resolve().is_relative_to((tree.file / folder).resolve())


def _without_validation(tree: Tree) -> list[str]:
    """Return the class folders of `train` without a photograph in the other part."""
    parts, classes = _parts(tree), _class_folders(tree)
    others = {key: _join(parts["validation"], name) for key, name in classes["validation"].items()}
    return [name for key, name in classes["train"].items() if key not in others or not _has_picture(tree, others[key])]


def _class_folders(tree: Tree) -> dict[str, dict[str, str]]:
    """Return the names of the class folders of each part, by `folded`. Raises UserError if two are the same."""
    return {part: _spellings(tree, folder) for part, folder in (_parts(tree) or {"train": ""}).items()}


def _folders_of(tree: Tree, labels: list[Label]) -> list[tuple[Label, str, str]]:
    """Return the folders of classes, as (class, part, folder), in their order."""
    parts, classes = _parts(tree) or {"train": ""}, _class_folders(tree)
    return [
        (label, part, _join(folder, classes[part][folded(label.folder)]))
        for label in labels
        for part, folder in parts.items()
        if folded(label.folder) in classes[part]
    ]


def _spellings(tree: Tree, folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in tree.folders(folder):
        other = found.setdefault(folded(name), name)
        if other != name:
            both = f"'{escaped(other)}' and '{escaped(name)}'"
            problem = f"'{tree.full_name(folder)}' contains {both}, the same name in another case or encoding"
            raise UserError(f"dataset.path: {problem}; merge or rename one of these folders")
    return found


def _parts(tree: Tree) -> dict[str, str]:
    """Return the folders of the two parts, or {} if `train` and `val` are not parts.

    They may be missing, or be classes themselves. Without a folder for validation, it is a `test` with at least two
    classes, all of which are in `train`. Raises UserError if one part has two folders.
    """
    folders = tree.folders()
    train, validation, test = (_named(folders, names) for names in (TRAIN, VALIDATION, TEST))
    if not validation and train and len(test) == 1 and _is_tested(tree, train[0], test[0]):
        validation = test
    if train and validation and _is_unsorted(tree, train[0], validation[0]):
        problem = f"'{tree.full_name(validation[0])}' contains photographs, but no class folders, unlike '{train[0]}'"
        raise UserError(f"dataset.path: {problem}; sort them into such folders, or set the path to '{train[0]}'")
    both = [*train, *validation]
    if not train or not validation or any(_has_picture(tree, name) for name in both):
        return {}
    if not any(tree.folders(name) for name in both):
        return {}
    for names in (train, validation):
        if len(names) > 1:
            problem = f"'{tree.full_name('')}' contains both '{names[0]}' and '{names[1]}'"
            raise UserError(f"dataset.path: {problem}; keep one")
    return dict(zip(PARTS, both, strict=True))


def _named(folders: list[str], names: tuple[str, ...]) -> list[str]:
    """Return the folders with one of some names, in any capitals, in the order of these names."""
    return sorted((name for name in folders if name.casefold() in names), key=lambda name: names.index(name.casefold()))


def _is_tested(tree: Tree, train: str, test: str) -> bool:
    trained, tested = (set(map(folded, tree.folders(name))) for name in (train, test))
    return len(tested) > 1 and tested <= trained


def _is_unsorted(tree: Tree, train: str, validation: str) -> bool:
    """Return whether there are class folders in `train`, but only photographs in the folder for validation."""
    if not tree.folders(train) or tree.folders(validation):
        return False
    return _has_picture(tree, validation) and not _has_picture(tree, train)


def _is_broken(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
