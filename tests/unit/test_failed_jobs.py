"""The errors of failed jobs are repeated at the end of a run."""

from dreambirds.startup.failed_jobs import report_failed

LOG = """
[Mon Nov 30 20:19:30 2026]
Error in rule {rule}:
    message: None
    jobid: 4
    output: results/a/checked.json (update), results/a/.checked/0773becaf5ee8857
    log: {log} (check log file(s) for error details)
"""


def test_the_last_error_of_each_failed_job_is_printed_once(tmp_path, capsys):
    (tmp_path / "check.log").write_text(
        "2026-11-30 20:19:26,1 computing\n2026-11-30 20:19:26,2 Error: first\n2026-11-30 20:19:26,3 Error: x: é; y\n",
        encoding="utf-8",
    )
    (tmp_path / "killed.log").write_text("2026-11-30 20:19:26,1 computing\n", encoding="utf-8")
    names = {"check": "check.log", "dream": "killed.log", "train": "missing.log"}
    blocks = [LOG.format(rule=rule, log=tmp_path / name) for rule, name in names.items()]
    (tmp_path / "snakemake.log").write_text("".join(blocks * 2), encoding="utf-8")
    report_failed([str(tmp_path / "snakemake.log"), str(tmp_path / "nosuch.log")])
    assert capsys.readouterr().err == "\nError in check: x: é; y\n"
    report_failed([str(tmp_path / "check.log")])
    assert capsys.readouterr().err == ""
