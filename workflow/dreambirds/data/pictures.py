"""Pictures that a study made, read back."""

from pathlib import Path

from PIL import Image

from dreambirds.errors import MAKE_AGAIN, StudyError, first_line


def read_picture(path: Path, end: str = MAKE_AGAIN) -> Image.Image:
    """Return a picture as RGB. Raises StudyError, whose sentence has this end, if it can't be read."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes decoders fail in many ways
        raise StudyError(f"the picture '{path}' can't be read ({first_line(error)}); {end}") from error
