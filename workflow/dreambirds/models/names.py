"""Names of models in a config, checked without importing torch or running anyone's code.

A model is a name of timm, `hf-hub:user/name`, `local-dir:folder`, `torchvision:name`, or a function of the user's own
code, `package.module:function`.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dreambirds.errors import UserError, did_you_mean
from dreambirds.io import expand, file_problem, is_file
from dreambirds.models import CONFIG_FILE, own_source
from dreambirds.models.checkpoint_facts import weights_files

TIMM, HUB, LOCAL, TORCHVISION, OWN = "timm", "hf-hub", "local-dir", "torchvision", "own"
PREFIXES = {"hf-hub": HUB, "hf_hub": HUB, "local-dir": LOCAL, "torchvision": TORCHVISION}
FORMS = "a name of timm, hf-hub:user/name, local-dir:folder, torchvision:name, or package.module:function"
_MODEL = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
_RENAMED = re.compile(r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.MULTILINE | re.DOTALL)
_PAIR = re.compile(r"""['"]([\w.]+)['"]\s*:\s*(?:['"]([\w.]+)['"]|None)""")
_TAGGED = re.compile(r"""^\s*['"](\w+)\.(\w+)['"]\s*:""", re.MULTILINE)
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)", re.IGNORECASE)
_TORCHVISION_MODEL = re.compile(r"^@register_model\(\)\n(?:(?!def ).*\n)*def (\w+)\(", re.MULTILINE)
_OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def split_name(name: str) -> tuple[str, str]:
    """Return the kind of a model's name, such as `TORCHVISION`, and the name without the prefix of its kind."""
    prefix, colon, rest = name.partition(":")
    if not colon:
        return TIMM, name
    return (PREFIXES[prefix.lower()], rest) if prefix.lower() in PREFIXES else (OWN, name)


def has_library(name: str) -> bool:
    """Return whether timm or torchvision is installed. Where it is not, only the job that checks a study knows it."""
    return find_spec(name) is not None


@cache
def model_names() -> frozenset[str]:
    """Return the names of timm's models, read from the source of the installed timm, with older names."""
    sources = library_sources("timm", "models")
    current = {name for source in sources for name in _MODEL.findall(source)}
    return frozenset(current | {name for name, new in renamed_models().items() if new})


@cache
def renamed_models() -> dict[str, str]:
    """Return the current name for each older name of timm's models, empty if the model was removed."""
    tables = [table for source in library_sources("timm", "models") for table in _RENAMED.findall(source)]
    return {old: new for table in tables for old, new in _PAIR.findall(table)}


@cache
def pretrained_tags() -> dict[str, set[str]]:
    """Return the tags of timm's pretrained weights by model, read from the source of the installed timm."""
    tags: dict[str, set[str]] = {}
    for source in library_sources("timm", "models"):
        for name, tag in _TAGGED.findall(source):
            tags.setdefault(name, set()).add(tag)
    return tags


@cache
def torchvision_names() -> frozenset[str]:
    """Return the names of torchvision's classifiers, read from the source of the installed torchvision."""
    sources = library_sources("torchvision", "models")
    return frozenset(name for source in sources for name in _TORCHVISION_MODEL.findall(source))


def library_sources(library: str, folder: str) -> list[str]:
    """Return the text of the modules in a folder of an installed library, which is not imported."""
    path = Path(find_spec(library).origin).parent / folder  # type: ignore[union-attr, arg-type]
    return [file.read_text(encoding="utf-8") for file in sorted(path.glob("*.py"))]


def current_name(name: str) -> str:
    """Return timm's name of a model of timm, in place of an older one."""
    return renamed_models().get(name) or name


def check_model_name(name: str) -> None:
    """Raise UserError unless a model has this name.

    Nothing is imported or downloaded: a repository of the hub and the classes of own code are checked when the model is
    built. Names of timm and torchvision are not checked where these are not installed.
    """
    if address := _ADDRESS.match(name):
        raise UserError(f"'{name}' is an address, not the name of a model; use hf-hub:{address[1]}")
    kind, rest = split_name(name)
    CHECKS[kind](rest)


def _check_timm(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not has_library("timm"):
        return
    if architecture in model_names():
        tags = {f"{architecture}.{each}" for each in pretrained_tags().get(architecture, ())}
        if tag and tags and name not in tags:
            raise UserError(f"timm has no weights '{name}'; {did_you_mean(name, tags, 'available')}")
        return
    if "/" in name or "\\" in name:
        raise UserError(f"'{name}' is not a name of timm; use hf-hub:{name} or local-dir:{name}")
    if architecture in renamed_models():
        raise UserError(f"timm has removed the model '{name}'; choose another model")
    if has_library("torchvision") and name in torchvision_names():
        raise UserError(f"timm has no model '{name}'; did you mean 'torchvision:{name}'?")
    raise UserError(f"timm has no model '{name}'; {did_you_mean(architecture, model_names())}")


def _check_torchvision(name: str) -> None:
    if has_library("torchvision") and name not in torchvision_names():
        raise UserError(f"torchvision has no classifier '{name}'; {did_you_mean(name, torchvision_names())}")


def _check_hub(name: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[^@\s]+)?", name):
        raise UserError(f"'{name}' is not a repository of the Hugging Face hub; use hf-hub:user/name")


def _check_local(folder: str) -> None:
    path = expand(folder)
    if not folder or not is_file(path / CONFIG_FILE):
        problem = file_problem(path / CONFIG_FILE)
        raise UserError(f"'{path / CONFIG_FILE}' {problem}; set local-dir: to a folder that contains timm's config")


def _check_own(name: str) -> None:
    if not _OWN.fullmatch(name):
        raise UserError(f"'{name}' is not the name of a model; use {FORMS}")
    own_source.check(*name.split(":"))


CHECKS: dict[str, Callable[[str], None]] = {
    TIMM: _check_timm,
    TORCHVISION: _check_torchvision,
    HUB: _check_hub,
    LOCAL: _check_local,
    OWN: _check_own,
}


def model_files(name: str) -> list[Path]:
    """Return the files that determine a model besides the libraries: the inputs of jobs that build it.

    These are the source of own code, or the config and the weights of ``local-dir:``.
    """
    kind, rest = split_name(name)
    if kind == OWN:
        return own_source.files(rest.partition(":")[0])
    if kind == LOCAL:
        with suppress(UserError):
            return weights_files(expand(rest))
        return [expand(rest) / CONFIG_FILE]  # a folder without weights
    return []
