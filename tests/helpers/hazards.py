"""Find unsafe code in the project's source.

This is code that executes data, shells, and predictable temporary files.
"""

import ast
import re
from collections.abc import Iterator

MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "jsonpickle"}
NEVER = {
    *("eval", "exec", "__import__", "os.system", "os.popen", "tempfile.mktemp", "shutil.unpack_archive"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "pandas.read_pickle", "snakemake.shell.shell"),
    *("yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.Loader", "yaml.FullLoader", "yaml.UnsafeLoader"),
    *("torch.hub.load", "torch.jit.load", "torch.serialization.add_safe_globals", "torch.package.PackageImporter"),
    *("jinja2.Template", "jinja2.Markup", "markupsafe.Markup"),
}
REQUIRED = {
    "torch.load": ("weights_only", "True"),
    "torch.hub.load_state_dict_from_url": ("weights_only", "True"),
    "timm.models.load_state_dict": ("weights_only", "True"),
    "numpy.load": ("allow_pickle", "False"),
    "yaml.load": ("Loader", "yaml.SafeLoader"),
    "jinja2.Environment": ("autoescape", "True"),
}
FOR_PAGES = "select_autoescape()"  # escapes in templates of HTML, not in those of Markdown
UNPACKS = ("extract", "extractall")
SHARED_FOLDERS = re.compile(r"(/var)?/tmp\b|/dev/shm\b")
IN_RULES = {
    "a shell": re.compile(r"^\s*(shell|run)\s*:(?!=)|\bshell\s*\(", re.MULTILINE),
    "code that runs data": re.compile(r"\b(eval|exec|system|popen|pickle)\s*\("),
    "an unsafe module": re.compile(rf"^\s*(import|from)\s+({'|'.join(MODULES)})\b", re.MULTILINE),
}
IN_PAGES = {
    "text that is not escaped": re.compile(r"\|\s*safe\b"),
    "escaping that is switched off": re.compile(r"autoescape"),
    "text that becomes elements or code": re.compile(
        r"(inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|srcdoc|\beval\(|\bFunction\("
    ),
}
INLINE = re.compile(r"\{\{ inline\(\"[a-z]+\.(css|js)\"\) \| safe \}\}")


def in_python(source: str) -> list[str]:
    """Return the unsafe code in a Python module, each with its line number."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    return [f"line {node.lineno}: {what}" for node in ast.walk(tree) for what in _unsafe(node, names)]


def in_rules(source: str) -> list[str]:
    """Return the unsafe code in a file of Snakemake rules."""
    return [what for what, pattern in IN_RULES.items() if pattern.search(source)]


def in_page(source: str) -> list[str]:
    """Return the unsafe code in a page's template, style or script.

    Inlining the project's own files is allowed.
    """
    rest = INLINE.sub("", source)
    return [what for what, pattern in IN_PAGES.items() if pattern.search(rest)]


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each imported name with its fully qualified name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or full, full
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _unsafe(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from (f"imports {module}" for module in modules if module.partition(".")[0] in MODULES)
    elif isinstance(node, ast.Name | ast.Attribute) and _qualified_name(node, names) in NEVER:
        yield f"uses {_qualified_name(node, names)}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and SHARED_FOLDERS.match(node.value):
        yield f"names {node.value}"
    elif isinstance(node, ast.Call):
        yield from _unsafe_call(node, names)


def _unsafe_call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = _qualified_name(node.func, names)
    options = {keyword.arg: _qualified_name(keyword.value, names) for keyword in node.keywords}
    if called in REQUIRED:
        key, value = REQUIRED[called]
        if options.get(key) != value and options.get(key) != FOR_PAGES:
            yield f"calls {called} without {key}={value}"
    if options.get("Loader", "yaml.SafeLoader") != "yaml.SafeLoader":
        yield f"loads with {options['Loader']}"
    if options.get("shell", "False") != "False":
        yield "starts a shell"
    if isinstance(node.func, ast.Attribute) and node.func.attr in UNPACKS and "filter" not in options:
        yield f"calls {node.func.attr} without a filter"
    if options.get("autoescape", "True") not in ("True", FOR_PAGES):
        yield "switches escaping off"


def _qualified_name(node: ast.AST, names: dict[str, str]) -> str:
    """Return the full name of an expression, or its code if it is not a name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_qualified_name(node.value, names)}.{node.attr}"
    return ast.unparse(node)


UNSAFE = {
    in_python: [
        "import pickle",
        "import joblib as j",
        "from marshal import loads",
        "eval('1')",
        "import os\nos.system('ls')",
        "from os import popen as p\np('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess as s\ns.run('ls', shell=bool(1))",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "from timm.models import load_state_dict\nload_state_dict('x', use_ema=False)",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import pandas as pd\npd.read_pickle('x')",
        "import yaml\nyaml.load('x')",
        "import yaml\nyaml.load('x', Loader=yaml.UnsafeLoader)",
        "from yaml import load, CLoader\nload('x', Loader=CLoader)",
        "from jinja2 import Environment\nEnvironment()",
        "import jinja2\njinja2.Environment(autoescape=False)",
        "from markupsafe import Markup\nMarkup('x')",
        "import tempfile\ntempfile.mktemp()",
        "open('/tmp/x')",
        "import tarfile\ntarfile.open('x').extractall('y')",
        "import zipfile\nwith zipfile.ZipFile('x') as z:\n    z.extract('y')",
    ],
    in_rules: [
        'rule a:\n    shell:\n        "ls {input}"',
        "rule a:\n    run:\n        pass",
        "onsuccess:\n    shell('ls')",
        "import pickle",
        "eval('1')",
    ],
    in_page: [
        "{{ name | safe }}",
        "{{ name|safe }}",
        "{% autoescape false %}",
        "box.innerHTML = name",
        "document.write(name)",
        'box.insertAdjacentHTML("beforeend", name)',
    ],
}
