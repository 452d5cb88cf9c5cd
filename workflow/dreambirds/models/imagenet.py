"""Names of ImageNet's classes, in the order of the outputs of its networks.

They are read from files of the installed timm, which is not imported, because planning does without torch.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dreambirds.models.names import has_library

SYNSETS, LEMMAS = "imagenet_synsets.txt", "imagenet_synset_to_lemma.txt"


@cache
def imagenet_names() -> list[str] | None:
    """Return the 1000 names, such as ``drake`` or ``goldfinch (Carduelis carduelis)``, None without timm.

    A name is the first word of the class in WordNet, and its synonyms are in brackets. So `labels.match_classes` finds
    a class by any of its words.
    """
    if not has_library("timm"):
        return None
    folder = Path(find_spec("timm").origin).parent / "data" / "_info"  # type: ignore[union-attr, arg-type]
    synsets, lemmas = ((folder / name).read_text(encoding="utf-8").splitlines() for name in (SYNSETS, LEMMAS))
    words = dict(line.split("\t") for line in lemmas)
    return [_name(words[synset].split(", ")) for synset in synsets]


def _name(words: list[str]) -> str:
    return " ".join([words[0], *(f"({word})" for word in words[1:])])
