"""One experiment, run as a study of its own by a Snakemake under this one, and what it found."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from dreambirds.data.files import atomically
from dreambirds.data.tables import read_table
from dreambirds.errors import StudyError
from dreambirds.gallery.finding import PAGE, TABLE

SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
CACHED = ("dataset", "train", "statistics")  # experiments share these


def run_experiment(config: dict, cores: int, config_file: Path, said: Path, page: Path, table: Path) -> None:
    """Run a study's experiment in the working directory and copy its page and its table.

    The config is written to `config_file`, what Snakemake says to `said`. Only what is missing or changed runs. Raises
    StudyError if it fails, or if its table is not whole.
    """
    config_file.parent.mkdir(parents=True, exist_ok=True)
    with atomically(config_file) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    found = Path("results") / config["study"] / "finding"
    with said.open("w") as log:
        ended = subprocess.run(_command(config_file, cores, found / PAGE), stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode:
        raise StudyError(f"the experiment '{config['study']}' did not come to its end; '{said}' tells why")
    # a copy of what is cut would be taken for what the experiment found
    read_table(found / TABLE, end=f"delete the folder '{found}', and the same command makes it again")
    for source, path in ((found / TABLE, table), (found / PAGE, page)):
        with atomically(path) as temporary:
            shutil.copyfile(source, temporary)


def _command(config_file: Path, cores: int, target: Path) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, "--configfile", config_file]
    # the Snakemake above holds the lock of the working directory
    command += ["--cores", cores, "--nolock", "--cache", *CACHED, "--", target]
    return [str(word) for word in command]
