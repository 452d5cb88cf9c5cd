"""Start and finish a run of the workflow: plan the study, check it, and announce it, before the first job."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreambirds.config.load import Section, check_file
from dreambirds.data.sources.source import Resource
from dreambirds.dream_job.store_gc import enforce_limit, limit_from_environment
from dreambirds.errors import UserError, explain_failure, report_killed
from dreambirds.io import use_store
from dreambirds.plan.paths import archive_path
from dreambirds.plan.plan import Plan, make_plan
from dreambirds.runtime.fork_server import start_fork_server
from dreambirds.runtime.process import prepare_process
from dreambirds.runtime.snakemake_lock import acquire_workdir_lock
from dreambirds.startup.command_line import read_entries, remove_images_with
from dreambirds.startup.estimate import granted_cores
from dreambirds.startup.failed_jobs import report_failed
from dreambirds.startup.machine import limit_to_machine
from dreambirds.startup.preflight import (
    announce_download,
    announce_study,
    check_existing_results,
    check_folders,
    clamp_future_mtimes,
    keep_measurements,
    missing_download,
    remove_partial_files,
    set_output_cache,
)

FEW = 3  # jobs for which a fork server saves nothing


def start(workflow: Any, config: Section) -> tuple[Plan | None, Resource | None, int | None]:
    """Return a study's plan, or None and the data set to download first, and the store's limit in bytes.

    `workflow` is Snakemake's object, `config` the contents of the config files. Only the main process of the main
    workflow checks and announces the study; the processes of jobs, and workflows that use this one as a module, only
    plan it. Exits with a one-line error before any job starts if the study cannot be run.
    """
    main = workflow.is_main_process and workflow.modifier.is_main_snakefile()
    try:
        prepare_process()
        limit = limit_from_environment() if main else None
        config = read_entries(config, workflow.config_settings.config)
        download, plan = _plan(config, workflow.overwrite_configfiles, main)
        if workflow.workflow_settings.cache is not None:
            set_output_cache()
        if main:
            limit_to_machine(workflow)
            acquire_workdir_lock(Path(".snakemake"))
            if plan:
                keep_measurements(plan)
                remove_partial_files(plan)
                remove_images_with(Path(archive_path(plan.study, *job)) for job in plan.dream_jobs)
                announce_study(plan, granted_cores(workflow))
            else:
                announce_download(download)
    except UserError as error:
        sys.exit(f"Error: {error}")
    except Exception as error:
        if explanation := explain_failure(error):
            sys.exit(f"Error: {explanation}")
        raise
    return plan, download, limit


def _plan(config: Section, files: Sequence[str], main: bool) -> tuple[Resource | None, Plan | None]:
    if main:
        for file in files:
            check_file(Path(file))
    download = missing_download(config)
    plan = None if download else make_plan(config)
    use_store(plan and plan.config["store"])
    if main and plan:
        check_folders(plan)
        clamp_future_mtimes(Path("results") / plan.study)
        check_existing_results(plan)
    return download, plan


def serve_jobs(workflow: Any) -> None:
    """Start the fork server of a run, if its jobs are run on this machine and in this Python environment.

    `workflow` is Snakemake's object, just before the first job.
    """
    jobs = sum(job.is_script for job in workflow.dag.needrun_jobs())
    is_local = workflow.is_main_process and workflow.local_exec and not workflow.touch
    if is_local and jobs > FEW and not workflow.deployment_settings.deployment_method:
        start_fork_server()


def finish(limit: int | None, log: list[str] | None = None) -> None:
    """Keep the store within its limit after a run that succeeded or failed.

    With `log`, Snakemake's logs of a failed run, also report why its jobs failed.
    """
    enforce_limit(limit)
    if log is not None:
        report_failed(log)
        report_killed(log)
