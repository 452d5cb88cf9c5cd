"""The store of prepared images: each is created once and shared by all studies."""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreambirds.errors import reason_of
from dreambirds.io import atomic_write, digest_of, store_entry, store_root, store_target, unwritable
from dreambirds.runtime.code_version import libraries, stage_code

SHA256, PREFIX = "sha256", "dreambirds:"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedImage:
    """A prepared image of the store: file, pixels, their digest, and metadata."""

    path: Path
    image: Image.Image
    sha256: str
    facts: dict[str, str]


class ImageCache:
    """A folder of PNG images ``<first two digits of the key>/<key>.png``.

    Each file's text chunks contain metadata and the digest of its pixels. Several threads and jobs may use the folder
    at the same time.
    """

    def __init__(self, folder: Path):
        """Set the folder, which `put` creates."""
        self.folder = folder

    def get(self, key: str, shape: tuple[int, int]) -> CachedImage | None:
        """Return the entry, or None if there is none; log and delete a corrupt one."""
        path = self._path(key)
        try:
            with Image.open(path) as file:
                file.load()
                facts = {name.removeprefix(PREFIX): text for name, text in file.text.items() if name.startswith(PREFIX)}
                image, digest = file.copy(), pixel_digest(file)
            if (image.mode, image.size, digest) != ("RGB", shape[::-1], facts.pop(SHA256, None)):
                raise ValueError("its pixels do not match their digest")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # a damaged file makes decoders fail in many ways
            log.warning("the stored image '%s' is corrupt (%s); recomputing it", path, reason_of(error))
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # for eviction; fails if the store belongs to another user
        return CachedImage(path, image, digest, facts)

    def put(self, key: str, image: Image.Image, facts: dict[str, str]) -> CachedImage:
        """Add an RGB image with metadata about its photograph, and return its entry.

        Raises UserError if the store cannot be written to.
        """
        path, digest, text = self._path(key, store_target), pixel_digest(image), PngInfo()
        for name, value in {**facts, SHA256: digest}.items():
            text.add_text(f"{PREFIX}{name}", value)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                image.save(temporary, "PNG", pnginfo=text)
        except OSError as error:
            raise unwritable("prepared images", self.folder, error) from error
        return CachedImage(path, image, digest, facts)

    def _path(self, key: str, find: Callable[..., Path] = store_entry) -> Path:
        return find("prepared", key[:2], f"{key}.png", folder=self.folder)


def default_folder() -> Path:
    """Return the default folder of the store of prepared images."""
    return store_root() / "prepared"


def image_key(photograph: str, shape: tuple[int, int], box: tuple | None, margin: float) -> str:
    """Return the digest of everything that determines a prepared image.

    `photograph` is the sha256 of the photograph's file.
    """
    return digest_of([photograph, *shape, box and [*map(float, box), float(margin)], pixel_code()])


def pixel_code() -> list[str]:
    """Return the code digest and library versions that determine prepared pixels."""
    return [stage_code("prepared"), *libraries("prepared").values()]


def pixel_digest(image: Image.Image) -> str:
    """Return the sha256 of an image's pixels, row by row."""
    return hashlib.sha256(image.tobytes()).hexdigest()
