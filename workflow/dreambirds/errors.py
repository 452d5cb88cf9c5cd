"""The one exception that is meant for a reader: its message is a whole sentence, and no traceback follows it."""

import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST = 600  # letters of a sentence
MAKE_AGAIN = "delete it, and the same command makes it again"
TRAIN_AGAIN = "delete it to train that epoch again"


class StudyError(ValueError):
    """Something that the user can mend: what is wrong, where, and what is allowed; always one line."""

    def __init__(self, sentence: str, key: str | None = None):
        """Take the sentence, and the path of the config's key that it is about, which goes before it; what names in it
        would do to a terminal is shown instead, and a very long one is cut."""
        self.sentence, self.key = sentence, key
        line = one_line(f"{key}: {sentence}" if key else sentence)
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST * 2 // 3]} … {line[-LONGEST // 3 :]}")


def one_line(text: str) -> str:
    """Return a text without line breaks, terminal codes and broken letters: these are shown with backslashes."""
    return "".join(
        letter
        if letter.isprintable() or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def nearest(word: object, allowed: Iterable[object]) -> str:
    """Return the sentence end that names the closest of the allowed words, and all of them if they are few."""
    allowed = sorted(map(str, allowed))
    if not allowed:
        return "nothing is allowed here"
    folded = {name.casefold(): name for name in reversed(allowed)}
    close = difflib.get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.5)
    hint = [f"did you mean '{folded[close[0]]}'?"] if close else []
    if len(allowed) <= 16 or not hint:
        shown = ", ".join(allowed[:16]) + (f", … ({len(allowed)} in all)" if len(allowed) > 16 else "")
        hint.append(f"allowed: {shown}")
    return " ".join(hint)


@contextmanager
def said_of(where: str) -> Iterator[None]:
    """Put the path `where` before the sentence of a StudyError that is raised inside, or before its own key."""
    try:
        yield
    except StudyError as error:
        raise StudyError(error.sentence, f"{where}.{error.key}" if error.key else where) from error


def first_line(error: Exception) -> str:
    """Return the first line of what a library's exception says, or its name if it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
