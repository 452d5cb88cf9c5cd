"""Fonts for names in any script: DejaVu, and fonts of the system for the characters that it does not have.

The fonts do not depend on the order in which texts are drawn.
"""

import logging
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.font_manager import findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font

from dreambirds.data.names import is_mark, transliterated

SHOWN = 8  # missing characters that a warning lists
REGULAR = ("regular", "book", "normal", "roman", "medium", "")
RIGHT_TO_LEFT = ("R", "AL")
UNUSABLE = ("color emoji", "lastresort", "last resort")  # bitmaps of fixed sizes, and boxes
UNLIKELY = ("unifont", "emoji", "mono", "serif", "ming", "song", "mincho")
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "HALFWIDTH", "IDEOGRAPHIC")
log = logging.getLogger(__name__)


class Font(NamedTuple):
    """A font: the path of its file, and its number in a collection."""

    path: str
    index: int = 0

    def load(self) -> FT2Font:
        """Return the font as matplotlib reads it."""
        return FT2Font(self.path, face_index=self.index)


def default_font(bold: bool = False) -> Font:
    """Return DejaVu, which comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Font(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)))


@cache
def system_fonts() -> tuple[Font, ...]:
    """Return the scalable fonts of the system: upright sans-serif ones first, then those with the most glyphs."""
    ranked = []
    for path in findSystemFonts():
        with suppress(OSError, RuntimeError):  # files that are not fonts
            for index in range(FT2Font(path).num_faces):
                face = FT2Font(path, face_index=index)
                if face.scalable and not face.family_name.lower().endswith(UNUSABLE):
                    ranked.append((_unlikely(face), -face.num_glyphs, Path(path).name, index, path))
    return tuple(Font(path, index) for *_, index, path in sorted(ranked))


def _unlikely(face: FT2Font) -> int:
    """Return how many properties speak against a font for labels."""
    family = face.family_name.lower()
    return (face.style_name.lower() not in REGULAR) + sum(word in family.replace("sans serif", "") for word in UNLIKELY)


_found: dict[str, Font | None] = {}  # the font of each character that was looked for, None if no font has it


def find_fonts(text: str) -> dict[str, Font | None]:
    """Return the font of the system for each character that DejaVu does not have, None if there is none."""
    unknown = {each for each in text if each not in _found and not _has_glyph(each)}
    for font in system_fonts() if unknown else ():
        with suppress(OSError, RuntimeError):
            face = font.load()
            found = {each for each in unknown if face.get_char_index(ord(each))}
            _found.update(dict.fromkeys(found, font))
            unknown -= found
        if not unknown:
            break
    _found.update(dict.fromkeys(unknown))
    return {each: _found[each] for each in text if each in _found}


@cache
def _open(font: Font) -> FT2Font:
    return font.load()


def _has_glyph(character: str, font: Font | None = None) -> bool:
    """Return whether a font, by default DejaVu, has a character, or nothing is drawn for it."""
    invisible = character.isspace() or unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f"
    return invisible or _open(font or default_font()).get_char_index(ord(character)) > 0


def shown(text: str) -> str:
    """Return a text with the characters that no font has in ASCII, as they sound."""
    missing = {each for each, font in find_fonts(text).items() if font is None}
    if not missing:
        return text
    return "".join((transliterated(each) or "?") if each in missing else each for each in text)


def runs(text: str, bold: bool = False) -> list[tuple[Font, str]]:
    """Return the parts of a text with the font of each, from left to right, without characters that no font has."""
    text, parts = shown(text), list[tuple[Font, str]]()
    fonts = {each: font for each, font in find_fonts(text).items() if font is not None}
    direction = [unicodedata.bidirectional(each) in RIGHT_TO_LEFT for each in text if each.isalpha()]
    turned = bool(fonts) and any(direction)
    for each in text:
        joined = is_mark(each) or unicodedata.category(each) == "Cf"
        # words from right to left stay in one part, because the parts would be in another order
        if parts and (joined or (turned and each not in fonts and _has_glyph(each, parts[-1][0]))):
            font = parts[-1][0]
        else:
            font = fonts.get(each, default_font(bold))
        if parts and parts[-1][0] == font:
            parts[-1] = (font, parts[-1][1] + each)
        else:
            parts.append((font, each))
    return parts[::-1] if turned and direction[0] else parts


def families(text: str) -> list[str]:
    """Return the names of matplotlib's fonts for a text, in the order in which it looks for a character."""
    needed = set(find_fonts(text).values()) - {None}
    return ["DejaVu Sans", *dict.fromkeys(_family(font) for font in system_fonts() if font in needed)]


@cache
def _family(font: Font) -> str:
    fontManager.addfont(font.path)
    return font.load().family_name


def warn_of_missing_fonts(texts: Iterable[str]) -> None:
    """Log in one line which characters of some texts no font has, and what to install."""
    missing = sorted(each for each, font in find_fonts("".join(texts)).items() if font is None)
    if missing:
        listed = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} others" if missing[SHOWN:] else "")
        *packages, last = sorted({package_of(each) for each in missing})
        named = f"{', '.join(packages)} and {last}" if packages else last
        remedy = f"install one, such as Debian's {named}, and delete the image to draw it again"
        log.warning("no font here has %s, so these are written as they sound; %s", listed, remedy)


def package_of(character: str) -> str:
    """Return the package of Debian with a font of Noto for a character."""
    if unicodedata.name(character, "").startswith(CJK):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character) == "So" else "fonts-noto-core"
