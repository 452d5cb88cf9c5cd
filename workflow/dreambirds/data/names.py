"""Names of classes in any script: for people, in paths, and the forms in which names are compared."""

import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache

from anyascii import anyascii

from dreambirds.errors import JOINERS, one_line

UNDECODED = re.compile("[\udc80-\udcff]")  # bytes of a file's name that are not UTF-8, as Python decodes them
ACCENTED = ("LATIN", "GREEK")  # scripts whose accents do not matter when names are compared


def of_file(name: str) -> str:
    """Return the name of a file or folder as it is in UTF-8, also where the locale is another one."""
    if sys.getfilesystemencoding() == "utf-8":
        return name
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def composed(name: str) -> str:
    """Return a name with each letter and its accents as one character (NFC); macOS separates them."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name in the form in which names are the same on any file system: composed (NFC) and without case."""
    return composed(composed(name).casefold())


def readable(name: str) -> str:
    """Return a display name: composed, with spaces for underscores, and `escaped`."""
    return escaped(composed(re.sub(r"[\s_]+", " ", name).strip()))


def escaped(name: str) -> str:
    """Return the name of a file or folder on one line, escaped with backslashes.

    Line breaks, terminal codes, and bytes that are not UTF-8 are escaped.
    """
    return one_line(UNDECODED.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", name))


def first_name(name: str) -> str:
    """Return the name of a class without what follows in brackets, which may be those of Chinese or Japanese."""
    return re.split(r" \(|\uff08", name, maxsplit=1)[0].strip() or name


def transliterated(text: str) -> str:
    """Return a text in ASCII, with the characters of other scripts as they sound: ``XiQue`` for 喜鹊.

    A character without a sound, such as a control character, is removed. Emoji become their names in colons.
    """
    return text if text.isascii() else "".join(map(_in_ascii, unicodedata.normalize("NFKC", text)))


@cache
def _in_ascii(character: str) -> str:
    """Return a character in ASCII; a letter or mark without the apostrophes of its transliteration."""
    found = anyascii(character)
    is_letter = (character.isalpha() and unicodedata.category(character) != "Lm") or is_mark(character)
    return re.sub(r"\W", "", found) if is_letter else found


def normalized(name: str) -> str:
    """Return the letters and digits of a name, with their vowel signs, by which names are compared.

    Case, apostrophes, and the accents of Latin and Greek do not matter, so that ``ø`` is ``o``. Marks of other scripts
    do: they distinguish は from ば. An emoji and other symbols are compared as `folded`, if a name is nothing else.
    """
    if name.isascii():
        return re.sub(r"[^a-z0-9]", "", name.lower()) or name.strip()
    base, kept = "", []
    text = unicodedata.normalize("NFKC", name).casefold()
    for character in unicodedata.normalize("NFKD", text):
        if character.isalnum() and _script(character) != "MODIFIER":
            base = character
            kept.append(transliterated(character) if _script(character) == "LATIN" else character)
        elif is_mark(character) and _script(base) not in ACCENTED:
            kept.append(character)
    return composed("".join(kept).casefold()) or folded(name).strip()


@cache
def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0] if character else ""


def is_mark(character: str) -> bool:
    """Return whether a character is part of the one before it, such as an accent or a vowel sign."""
    return unicodedata.category(character).startswith("M")


def words(text: str) -> set[str]:
    """Return the words of a text, each `normalized`."""
    inside = ((each, each.isalnum() or is_mark(each) or each in JOINERS) for each in text)
    return {normalized(word) for word in "".join(each if is_part else " " for each, is_part in inside).split()}


def forms(name: str) -> list[str]:
    """Return the forms of a class's name that stand for it: all of it, parts in brackets, what follows a number."""
    return [name, *re.split(r"[()\uff08\uff09]", name), re.sub(r"^\d+[\W_]+", "", name)]


def class_indices(classes: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the classes that each normalized name stands for, by any of its `forms`."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(classes):
        for part in {normalized(form) for form in forms(name)} - {""}:
            found.setdefault(part, []).append(index)
    return found
