"""Which modules each stage is made of, so that editing one runs its stage again and no stage before it."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
_PICTURES = ["pictures/lettering.py", "pictures/montage.py", "pictures/provenance.py"]
STAGES = {
    "dataset": ["data/files.py", "data/prepare.py", "data/split.py", "data/photographs.py", "data/drawn/*.py"],
    "training": ["data/loading.py", "data/tables.py", "models/build.py", "models/checkpoint.py", "training/*.py"],
    "dreaming": [
        "data/photographs.py",
        "dreaming/*.py",
        "models/*.py",
        "pictures/dreams.py",
        "pictures/provenance.py",
        "pictures/views.py",
    ],
    "montages": [*_PICTURES, "pictures/assembly.py"],
    "films": [*_PICTURES, "pictures/assembly.py", "pictures/film.py"],
    "curves": ["pictures/curves.py"],
}


def stage_code(stage: str) -> list[str]:
    """Return the files of the package that decide what a stage makes."""
    return [str(path) for pattern in STAGES[stage] for path in sorted(PACKAGE.glob(pattern))]
