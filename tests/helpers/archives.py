"""Archives of uniform images, without a dream job."""

from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from dreambirds.config import VIEWS
from dreambirds.dream_job.archive import INDEX, write_archive
from dreambirds.dream_job.image_files import encode_png
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.paths import dream_folder, picture_name

TRACE = b"step,probability\n0,0.25\n1,0.5\n"


def write_images(
    root: Path, dreams: Iterable[Any], color: Callable[[Any, str], Any], size: Callable[[Any], tuple[int, int]]
) -> list[Path]:
    """Write one archive for each run, epoch and recipe, and return their paths.

    `dreams` have the attributes of `DREAM`, and are in the order of the study. `color` returns the color of a view of a
    dream, and `size` its (width, height).
    """
    archives = []
    for (run, epoch, recipe), group in groupby(dreams, lambda dream: (dream.run, dream.epoch, dream.recipe)):
        facts = {"run": run, "epoch": epoch, "recipe": recipe, "parameters": {}, "checkpoint_sha256": "1" * 64}
        rows, files = [",".join([*DREAM, "reference_label", "steps_done", *(f"{view}_sha256" for view in VIEWS)])], {}
        for dream in group:
            rows.append(f"{run},{epoch:g},{recipe},{dream.label},{dream.step},,{dream.step},{'0' * 64},{'1' * 64}")
            for view in VIEWS:
                image = Image.new("RGB", size(dream), color(dream, view))
                files[picture_name(dream.label, dream.step, view)] = encode_png(image, "", {**facts, "versions": {}})
            files[f"{dream.label}/trace.csv"] = TRACE
        files[INDEX] = "".join(f"{row}\n" for row in rows).encode()
        archives.append(dream_folder(root, run, epoch, recipe) / "dreams.zip")
        archives[-1].parent.mkdir(parents=True, exist_ok=True)
        write_archive(archives[-1], files.items())
    return archives
