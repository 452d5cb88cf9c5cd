"""Names of ImageNet's classes, in the order of the outputs of its networks.

They are read from files of the installed timm, which is not imported, because planning does without torch.
"""

import re
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.names import TIMM, TORCHVISION, has_library, split_name
from dreambirds.models.tensor_shapes import tensor_shapes

SYNSETS, LEMMAS = "imagenet_synsets.txt", "imagenet_synset_to_lemma.txt"
DEFINITIONS = "imagenet_synset_to_definition.txt"
CLASSES = 1000
BACKGROUND = "background"  # the first of the 1001 outputs of networks that were trained with TensorFlow
LARGER = re.compile(r"in(21|22|12)k(?!.*in1k)")  # tags of timm's weights for more classes than ImageNet-1k has


@cache
def imagenet_names(outputs: int = CLASSES) -> list[str] | None:
    """Return the names of 1000 or 1001 outputs, such as ``drake`` or ``goldfinch (Carduelis carduelis)``.

    A name is the first word of the class in WordNet, and its synonyms are in brackets. So `labels.match_classes` finds
    a class by any of its words. A name that several classes have is followed by what it means. None without timm.
    """
    if not has_library("timm"):
        return None
    folder = Path(find_spec("timm").origin).parent / "data" / "_info"  # type: ignore[union-attr, arg-type]
    synsets, lemmas, definitions = (
        (folder / name).read_text(encoding="utf-8").splitlines() for name in (SYNSETS, LEMMAS, DEFINITIONS)
    )
    words, meanings = (dict(line.split("\t") for line in lines) for lines in (lemmas, definitions))
    names = [_name(words[synset].split(", ")) for synset in synsets]
    counts = Counter(names)
    unique = [
        _name([name, meanings[synset].partition(";")[0]]) if counts[name] > 1 else name
        for name, synset in zip(names, synsets, strict=True)
    ]
    return [BACKGROUND] * (outputs - CLASSES) + unique


def _name(words: list[str]) -> str:
    return " ".join([words[0], *(f"({word})" for word in words[1:])])


def has_imagenet_weights(model: str) -> bool:
    """Return whether the pretrained weights of a model of timm or torchvision are for ImageNet's 1000 classes.

    It is assumed unless the tag of timm's weights names a larger data set; the head is compared when they are loaded.
    """
    kind, name = split_name(model)
    return kind == TORCHVISION or (kind == TIMM and not LARGER.search(name.partition(".")[2]))


def imagenet_outputs(weights: Path) -> int | None:
    """Return the number of outputs of a file or folder of weights, 1000 or 1001; None if it has another head."""
    sizes = {
        shape[0]
        for file in weights_files(weights)
        if file.suffix != ".json"
        for state in tensor_shapes(file)
        for name, shape in state.items()
        if name.endswith("bias") and len(shape) == 1
    }
    found = sizes & {CLASSES, CLASSES + 1}
    return found.pop() if len(found) == 1 else None
