"""Context of every script: logs, one-line errors, GPUs, exit with Snakemake."""

import logging
import sys
from contextlib import contextmanager
from pathlib import Path

from dreambirds.errors import UserError, explain_failure, one_line
from dreambirds.io import use_store
from dreambirds.log import log_to
from dreambirds.runtime.code_version import check_code, check_libraries
from dreambirds.runtime.gpu_lock import reserve_gpus
from dreambirds.runtime.process import prepare_process
from dreambirds.runtime.snakemake_lock import exit_with_parent
from dreambirds.runtime.timings import record_job


@contextmanager
def job(snakemake):
    """Run a script: log, reserve GPUs, and exit with status 1 on an error.

    The log goes to the terminal and to the rule's log file. A UserError or a machine failure is logged as one line, any
    other error with its traceback. The GPUs that the rule requests are reserved first, so import torch only inside the
    block.
    """
    exit_with_parent()
    prepare_process()
    use_store(snakemake.config.get("store"))
    log = logging.getLogger("dreambirds")
    try:
        log_to(Path(snakemake.log[0]))
        check_code(snakemake.params.get("code"))
        check_libraries(snakemake.params.get("libraries"))
        with reserve_gpus(getattr(snakemake.resources, "gpu", 0)):
            yield
        record_job(snakemake.rule)
    except UserError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception as error:
        if explanation := explain_failure(error):
            log.error("%s", one_line(explanation))
        else:
            log.exception("unexpected error in %s", snakemake.rule)
        sys.exit(1)
