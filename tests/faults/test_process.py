"""What the system lacks is replaced: a user's name, folders for caches, and a plain path of Python."""

import getpass
import io
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dreambirds.errors import UserError
from dreambirds.log import escape_unencodable
from dreambirds.runtime import process
from dreambirds.runtime.process import CACHES, complete_environment, is_plain, use_plain_interpreter

CODE = "import sys; from dreambirds.runtime.process import use_plain_interpreter as use; use(); print(sys.executable)"


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Return a function that replaces the environment; the working directory is a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def replace(**variables: str) -> None:
        for name in list(os.environ):
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return replace


def test_a_user_without_a_name_gets_one(environment, monkeypatch):
    def missing(_):
        raise KeyError("getpwuid(): uid not found")

    environment(HOME="/")
    monkeypatch.setattr(pwd, "getpwuid", missing)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    complete_environment()
    assert getpass.getuser() == f"user-{os.getuid()}"
    environment(HOME="/", LOGNAME="me")
    complete_environment()
    assert getpass.getuser() == "me" and "USER" not in os.environ


@pytest.mark.parametrize("home", ["", "a file", "a file/below"])
def test_caches_go_to_the_working_directory_without_a_home_folder(environment, tmp_path, home, monkeypatch):
    (tmp_path / "a file").touch()
    environment(USER="me", HOME=str(tmp_path / home) if home else "/proc/1/nothing")
    complete_environment()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / CACHES)
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / CACHES / "matplotlib")


def test_a_home_folder_is_used_and_settings_of_the_user_are_kept(environment, tmp_path):
    (tmp_path / "home").mkdir()
    environment(USER="me", HOME=str(tmp_path / "home"))
    before = dict(os.environ)
    complete_environment()
    assert os.environ == before
    environment(USER="me", HOME="/proc/1/nothing", XDG_CACHE_HOME=str(tmp_path), MPLCONFIGDIR=str(tmp_path))
    before = dict(os.environ)
    complete_environment()
    assert os.environ == before


@pytest.mark.parametrize(
    ("path", "plain"),
    [("/a/b-c_d.e/1:2", True), ("/My Documents", False), ("/it's", False), ("/a$b", False), ("/ü", False)],
)
def test_a_path_is_plain_if_a_shell_takes_it_as_one_word(path, plain):
    assert is_plain(path) is plain


@pytest.mark.parametrize("name", ["My Documents", "it's", "a;b&c", "鸟"])
def test_python_is_started_through_a_plain_link_that_ends_with_its_process(tmp_path, name):
    folder = tmp_path / name / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder) if sys.prefix != sys.base_prefix else None
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    run = subprocess.run([folder / "bin" / "python", "-c", CODE], capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    used = run.stdout.strip()
    assert is_plain(used) and used.endswith("/environment/bin/python") and not Path(used).parents[2].exists()


def test_a_plain_path_is_kept_and_a_folder_for_the_link_is_needed(monkeypatch, tmp_path):
    before = sys.executable
    use_plain_interpreter()
    assert sys.executable == before
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "My Documents"))
    monkeypatch.setattr(sys, "executable", f"{sys.prefix}/bin/python")

    def refuse(**_):
        raise OSError("read-only file system")

    monkeypatch.setattr(process.tempfile, "mkdtemp", refuse)
    with pytest.raises(UserError, match=r"does not quote spaces .*move the project to a folder with a plain name"):
        use_plain_interpreter()


def test_closed_streams_are_the_null_device_also_of_child_processes():
    code = "import os, subprocess; from dreambirds.runtime.process import open_streams as use; use(); "
    code += "subprocess.run(['test', '-c', '/proc/self/fd/0', '-a', '-c', '/proc/self/fd/2'], check=True); print(1)"
    run = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, code], stdout=subprocess.PIPE)
    assert (run.returncode, run.stdout) == (0, b"1\n")


def test_streams_escape_what_their_encoding_lacks(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
    escape_unencodable()
    print("鸟")
    stream.flush()
    assert stream.buffer.getvalue() == b"\\u9e1f\n"
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)  # closed
    escape_unencodable()
