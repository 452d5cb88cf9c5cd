"""Studies of uniform images for quizzes: each dream has its image's path, and each dataset image its own digest."""

from pathlib import Path

from dreambirds.data.tables import read_images, read_table, write_table
from dreambirds.plan.paths import picture_path
from dreambirds.plan.plan import Plan
from tests.helpers.galleries import build_gallery


def write_study(plan: Plan, root: Path) -> Path:
    """Write the study below `root`, and return the folder of its results."""
    folder = build_gallery(plan, root, judged=False).parent
    dreams = read_table(folder / "dreams.csv")
    for view, column in (("raw", "image_path"), ("rescaled", "image_path_rescaled")):
        dreams[column] = [str(picture_path(Path("dreams"), dream, view)) for dream in dreams.itertuples()]
    write_table(dreams, folder / "dreams.csv")
    images = read_images(folder / "dataset")
    write_table(images.assign(sha256=control_digests(len(images))), folder / "dataset" / "images.csv")
    return folder


def control_digests(count: int) -> list[str]:
    """Return the digests of the dataset images, in their order."""
    return [f"{number:064x}" for number in range(count)]
