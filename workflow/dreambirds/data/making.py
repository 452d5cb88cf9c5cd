"""One picture of a data set: drawn, or made of a photograph unless the store has it, and put where it belongs."""

import hashlib
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dreambirds.data.chance import label_stream
from dreambirds.data.drawn import draw_bird
from dreambirds.data.files import atomically, link
from dreambirds.data.framing import Box, make_picture, widen
from dreambirds.data.labels import Label, shown
from dreambirds.data.photographs import UnreadableError, reasons, stored
from dreambirds.data.shapes import shape_of
from dreambirds.data.source import Photograph, open_photograph, origin
from dreambirds.data.store import Entry, Store, picture_key, pixels_digest

OTHERS = "further pictures are left out: images.csv lists them all, with the reasons"
SHOWN_WHOLE = "further pictures are shown whole for the same reason"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One picture to prepare: its class, its origin (a photograph, or a number for a drawn bird), and its new name."""

    label: Label
    origin: Photograph | int
    name: str

    @property
    def said(self) -> str:
        """What tables and the log call it; nothing for a drawn bird."""
        return "" if isinstance(self.origin, int) else origin(self.origin)


@dataclass(frozen=True)
class Made:
    """What became of a source: its values of ``images.csv``; its pixels, uint8 (3, H, W), None if it is left out; and
    whether the store had it."""

    row: dict[str, str]
    pixels: np.ndarray | None = None
    stored: bool = False


@dataclass(frozen=True)
class Workshop:
    """Makes pictures: by the config's section, into a folder, by way of the store. Many threads may share it."""

    dataset: dict
    folder: Path
    store: Store

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return shape_of(self.dataset["image_size"])

    def make(self, source: Source) -> Made:
        """Make one picture; one that can't be read is left out, with a line in the log."""
        row = {"label": source.label.label, "source": source.said}
        path = Path("images", source.label.label, f"{source.name}.png")
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source.origin, int):
            picture, found = self._draw(source, self.folder / path), False
            row |= {"sha256": pixels_digest(picture), "size": f"{picture.width}x{picture.height}"}
        else:
            try:
                entry, found = self._find_or_make(source.origin)
            except UnreadableError as error:
                problem = shown(str(error))
                log.warning("left out %s: %s", source.said, problem, extra={"others": OTHERS})
                return Made({**row, "problem": problem})
            link(entry.path, self.folder / path)
            picture = entry.picture
            row |= {"sha256": entry.sha256, "size": entry.facts["size"], "split": source.origin.part}
        return Made({**row, "path": str(path)}, np.asarray(picture).transpose(2, 0, 1), found)

    def _draw(self, source: Source, path: Path) -> Image.Image:
        label, stream = source.label.label, label_stream(self.dataset["seed"], source.label.label, source.origin)
        picture = widen(draw_bird(label, stream, min(self.shape), self.dataset["facing"]), self.shape)
        with atomically(path) as temporary:
            picture.save(temporary)
        return picture

    def _find_or_make(self, photograph: Photograph) -> tuple[Entry, bool]:
        """Return a photograph's entry in the store, and whether it was there. Raises UnreadableError."""
        if photograph.problem:
            raise UnreadableError(photograph.problem)
        name, box, margin = origin(photograph), self._box(photograph), self.dataset["crop_margin"] or 0
        with ExitStack() as stack:
            with reasons(name):
                file = stack.enter_context(open_photograph(photograph))
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            key = picture_key(contents, self.shape, box, margin)
            entry = self.store.get(key, self.shape)
            found = entry is not None
            if not found:
                with reasons(name), stored(file) as picture:
                    made = make_picture(picture, self.shape, box, margin)
                entry = self.store.put(key, *made)
        if box and entry.facts["shown"] != "box":
            told = "%s is shown whole, since its box %s has no area in it"
            log.warning(told, name, list(box), extra={"others": SHOWN_WHOLE})
        return entry, found

    def _box(self, photograph: Photograph) -> Box | None:
        return None if self.dataset["crop_margin"] is None else photograph.box
