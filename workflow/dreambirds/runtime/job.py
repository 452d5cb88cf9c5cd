"""What scripts share: a log on the terminal and in the rule's file, one-sentence errors, GPUs of their own, and an end
with Snakemake's."""

import logging
import sys
from contextlib import contextmanager
from pathlib import Path

from dreambirds.errors import UserError, explain_failure, one_line
from dreambirds.log import log_to
from dreambirds.runtime.code_version import check_code
from dreambirds.runtime.gpu_lock import reserve_gpus
from dreambirds.runtime.snakemake_lock import exit_with_parent
from dreambirds.runtime.timings import record_job


@contextmanager
def job(snakemake):
    """Log to the terminal and to the rule's log; end on a UserError, or a mishap of the machine, with a
    sentence, on others with a traceback.

    The job has the GPUs that its rule asks for to itself, so torch is to be imported inside only.
    """
    exit_with_parent()
    log = logging.getLogger("dreambirds")
    try:
        log_to(Path(snakemake.log[0]))
        check_code(snakemake.params.get("code"))
        with reserve_gpus(getattr(snakemake.resources, "gpu", 0)):
            yield
        record_job(snakemake.rule)
    except UserError as error:
        log.error("Error: %s", error)
        sys.exit(1)
    except Exception as error:
        if sentence := explain_failure(error):
            log.error("Error: %s", one_line(sentence))
        else:
            log.exception("unexpected error in %s", snakemake.rule)
        sys.exit(1)
