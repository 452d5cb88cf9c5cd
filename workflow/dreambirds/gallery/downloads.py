"""Pictures as scripts: a page that is opened from disk may save no file beside it, but may save what a script says."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from dreambirds.data.files import atomically


def write_download(files: Sequence[Path], path: Path) -> None:
    """Write a script that hands files to the page's `arrive`, whole, as base64 by their names."""
    texts = {file.name: base64.b64encode(file.read_bytes()).decode() for file in files}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        temporary.write_text(f"arrive({json.dumps(texts)});\n", encoding="utf-8")
