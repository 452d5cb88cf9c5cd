"""What scripts share: the package on the path, a log on the terminal and in the rule's file, one-sentence errors, GPUs
of their own, and an end with Snakemake's."""

import logging
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dreambirds.errors import StudyError
from dreambirds.leases import leased
from dreambirds.study.code import check_code
from dreambirds.watch import end_with_snakemake


@contextmanager
def job(snakemake):
    """Log to the terminal and to the rule's log; end on a StudyError with its sentence, on others with a traceback.

    The job has the GPUs that its rule asks for to itself, so torch is to be imported inside only.
    """
    handlers = [logging.StreamHandler(), logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8")]
    handlers[1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers, force=True)
    logging.captureWarnings(True)
    logging.getLogger("dreambirds").setLevel(logging.INFO)
    end_with_snakemake()
    try:
        check_code(snakemake.params.get("code"))
        with leased(getattr(snakemake.resources, "gpu", 0)):
            yield
    except StudyError as error:
        logging.getLogger("dreambirds").error("Error: %s", error)
        sys.exit(1)
    except Exception:
        logging.getLogger("dreambirds").exception("unexpected error in %s", snakemake.rule)
        sys.exit(1)
