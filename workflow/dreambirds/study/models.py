"""Which models timm knows, without the seconds that importing it costs."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dreambirds.errors import StudyError, nearest

_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


@cache
def model_names() -> frozenset[str]:
    """Return the names of timm's models, read from the source of the installed timm."""
    folder = Path(find_spec("timm").origin).parent / "models"
    return frozenset(name for file in folder.glob("*.py") for name in _REGISTERED.findall(file.read_text()))


def check_model(name: str, where: str) -> None:
    """Raise StudyError, naming the nearest model, unless timm has this one; a pretrained tag may follow a dot."""
    architecture = name.partition(".")[0]
    if architecture not in model_names():
        raise StudyError(f"{where}: timm has no model '{name}'; {nearest(architecture, model_names())}")
