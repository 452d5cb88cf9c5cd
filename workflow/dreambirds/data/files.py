"""Which files of a folder are photographs; their contents are not looked at."""

from pathlib import Path

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp"}


def find_photographs(folder: Path) -> list[Path]:
    """Return the photographs directly inside a class folder, sorted by name; hidden files are left out."""
    return sorted(path for path in folder.iterdir() if is_photograph(path))


def is_photograph(path: Path) -> bool:
    """Tell whether a file is called as a photograph is: JPEG, PNG or WebP, and not hidden."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
