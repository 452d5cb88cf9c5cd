"""Which models and optimisers timm knows, without the seconds that importing it costs."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dreambirds.errors import StudyError, nearest
from dreambirds.study.schema import Section

_MODEL = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
DECIDED = {
    "model_name": "`model` names the model",
    "num_classes": "a model has as many classes as there are labels",
    "in_chans": "every picture has 3 channels",
    "features_only": "a model must tell classes apart",
    "pretrained": "`weights` tells where they come from",
    "checkpoint_path": "`weights` tells where they come from",
}
_OPTIMISER = re.compile(r"^\s+name='(\w+)'", re.MULTILINE)


@cache
def model_names() -> frozenset[str]:
    """Return the names of timm's models, read from the source of the installed timm."""
    return _names("models", _MODEL)


@cache
def optimiser_names() -> frozenset[str]:
    """Return the names of timm's optimisers, read likewise, but for those whose state is no plain numbers or that
    need a second derivative, a GPU or a further library."""
    names = _names("optim", _OPTIMISER)
    return frozenset(name for name in names if not name.startswith(("kron", "adahessian", "fused", "bnb")))


def check_model(name: str, where: str) -> None:
    """Raise StudyError, naming the nearest model, unless timm has this one; a pretrained tag may follow a dot."""
    architecture = name.partition(".")[0]
    if architecture not in model_names():
        raise StudyError(f"{where}: timm has no model '{name}'; {nearest(architecture, model_names())}")


def check_options(options: Section, where: str) -> None:
    """Raise StudyError where a model's options say what the study says in another place."""
    for key in options:
        if key in DECIDED:
            raise StudyError(f"{where}.{key}: is no option to set; {DECIDED[key]}")


def check_optimiser(name: str, where: str) -> None:
    """Raise StudyError, naming the nearest optimiser, unless timm has this one."""
    if name not in optimiser_names():
        raise StudyError(f"{where}: timm has no optimiser '{name}'; {nearest(name, optimiser_names())}")


def _names(folder: str, pattern: re.Pattern[str]) -> frozenset[str]:
    sources = (Path(find_spec("timm").origin).parent / folder).glob("*.py")  # type: ignore[union-attr, arg-type]
    return frozenset(name for file in sources for name in pattern.findall(file.read_text()))
