"""The store of prepared pictures: each is made once for all studies, and found again by what decides its pixels."""

import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreambirds.io import atomic_write, digest_of, store_root, unwritable
from dreambirds.runtime.code_version import libraries, stage_code

SHA256, PREFIX = "sha256", "dreambirds:"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedImage:
    """One prepared picture: its file in the store, the picture, its pixels' digest, and facts about its photograph."""

    path: Path
    picture: Image.Image
    sha256: str
    facts: dict[str, str]


class ImageCache:
    """A folder of pictures ``<first two>/<digest>.png``, each with facts and the digest of its pixels in its text.

    Many threads and jobs may use it at once.
    """

    def __init__(self, folder: Path):
        """Take the folder, which is made when something is put there."""
        self.folder = folder

    def get(self, key: str, shape: tuple[int, int]) -> CachedImage | None:
        """Return the entry, None if there is none; one that is damaged is discarded, with a line in the log."""
        path = self._path(key)
        try:
            with Image.open(path) as file:
                file.load()
                facts = {name.removeprefix(PREFIX): text for name, text in file.text.items() if name.startswith(PREFIX)}
                picture, digest = file.copy(), pixels_digest(file)
            if (picture.mode, picture.size, digest) != ("RGB", shape[::-1], facts.pop(SHA256)):
                raise ValueError("its pixels are not those that were put there")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # a damaged file makes decoders fail in many ways
            log.warning("the stored picture '%s' is damaged (%s) and made anew", path, error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # eviction goes by it; a store may be another's
        return CachedImage(path, picture, digest, facts)

    def put(self, key: str, picture: Image.Image, facts: dict[str, str]) -> CachedImage:
        """Add an RGB picture with facts about its photograph, and return its entry. Raises UserError if that fails."""
        path, digest, text = self._path(key), pixels_digest(picture), PngInfo()
        for name, value in {**facts, SHA256: digest}.items():
            text.add_text(f"{PREFIX}{name}", value)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                picture.save(temporary, "PNG", pnginfo=text)
        except OSError as error:
            raise unwritable("prepared pictures", self.folder, error) from error
        return CachedImage(path, picture, digest, facts)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.png"


def default_folder() -> Path:
    """Return where prepared pictures are stored."""
    return store_root() / "prepared"


def picture_key(photograph: str, shape: tuple[int, int], box: tuple | None, margin: float) -> str:
    """Return the digest of all that decides a prepared picture; `photograph` is the digest of its bytes."""
    told = [photograph, *shape, box and [*map(float, box), float(margin)], pixels_code()]
    return digest_of(told)


def pixels_code() -> list[str]:
    """Return a digest of the code and the versions of the libraries that decide the pixels of prepared photographs."""
    return [stage_code("prepared"), *libraries("prepared").values()]


def pixels_digest(picture: Image.Image) -> str:
    """Return the sha256 of a picture's pixels, row by row."""
    return hashlib.sha256(picture.tobytes()).hexdigest()
