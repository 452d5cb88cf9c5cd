"""What scripts share: the package on the path, a log on the terminal and in the rule's file, one-sentence errors."""

import logging
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dreambirds.errors import StudyError


@contextmanager
def job(snakemake):
    """Log to the terminal and to the rule's log; end on a StudyError with its sentence, on others with a traceback."""
    handlers = [logging.StreamHandler(), logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8")]
    handlers[1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers, force=True)
    logging.captureWarnings(True)
    logging.getLogger("dreambirds").setLevel(logging.INFO)
    try:
        yield
    except StudyError as error:
        logging.getLogger("dreambirds").error("Error: %s", error)
        sys.exit(1)
    except Exception:
        logging.getLogger("dreambirds").exception("unexpected error in %s", snakemake.rule)
        sys.exit(1)
