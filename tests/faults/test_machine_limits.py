"""The cores, the memory and the shared memory that a process may use, in containers of both kinds of control groups."""

import os
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest
from snakemake.resources import Resources

from dreambirds.runtime import machine
from dreambirds.startup import machine as startup

GB = 10**9
HOST = 64
V2 = {"cpu.max": "200000 100000", "memory.max": f"{4 * GB}", "memory.current": f"{3 * GB}"}
V2 |= {"memory.stat": f"anon 5\ninactive_file {GB}\nactive_file 7\n"}
V1 = {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}
V1 |= {"memory/memory.limit_in_bytes": f"{4 * GB}", "memory/memory.usage_in_bytes": f"{3 * GB}"}
V1 |= {"memory/memory.stat": f"inactive_file 3\ntotal_inactive_file {GB}\n"}
UNLIMITED = {"cpu.max": "max 100000", "memory.max": "max", "memory.current": "5", "memory.stat": "inactive_file 0"}
V1_UNLIMITED = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
V1_UNLIMITED |= {"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "5"}
V1_LINES = "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n1:name=systemd:/\n0::/"


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Return a function that writes the files of control groups and this process's group, on a host of 64 cores."""
    memory = namedtuple("Memory", "total available")(128 * GB, 100 * GB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(HOST)))
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "self")

    def write(files: dict[str, str], lines: str = "0::/") -> None:
        (tmp_path / "self").write_text(lines)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def below(files: dict[str, str], path: str) -> dict[str, str]:
    """Return files of a group of version 2 at a path."""
    return {f"{path}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        (V2, "0::/"),
        (V2, "0::/not/mounted/here"),
        (below(V2, "user.slice/a"), "0::/user.slice/a"),
        (below(V2, "pod") | below(UNLIMITED, "pod/container"), "0::/pod/container"),
        (below(V2, "unified"), "0::/"),
        (V1, V1_LINES),
        ({name.replace("cpu/", "cpu,cpuacct/"): text for name, text in V1.items()}, V1_LINES),
        ({name.replace("/", "/docker/1f/"): text for name, text in V1.items()} | V1_UNLIMITED, V1_LINES),
    ],
)
def test_a_container_s_limits_count(group, files, lines):
    group(files, lines)
    assert machine.cpu_count() == 2
    assert machine.memory() == (4 * GB, 2 * GB), "cached files are free"


@pytest.mark.parametrize("files", [{}, UNLIMITED, V1_UNLIMITED, {"cpu.max": "", "memory.max": "many"}])
def test_without_a_limit_the_host_s_count(group, files):
    group(files, "" if not files else V1_LINES)
    assert machine.cpu_count() == HOST and machine.memory() == (128 * GB, 100 * GB)


@pytest.mark.parametrize(("quota", "cores"), [("150000", 2), ("50000", 1), ("1000", 1), ("9900000", HOST)])
def test_a_fraction_of_a_core_is_rounded_up(group, quota, cores):
    group({"cpu.max": f"{quota} 100000"})
    assert machine.cpu_count() == cores


def test_affinity_counts_and_a_system_without_control_groups_has_all_cores(group, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert machine.cpu_count() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.cpu_count() == 6


def test_shared_memory_is_that_of_the_system(monkeypatch, tmp_path):
    sizes = machine.shared_memory()
    assert sizes is None or 0 <= sizes.free <= sizes.total
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path / "missing")
    assert machine.shared_memory() in (None, (0, 0))
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert machine.shared_memory() is None


def limited(cores: int | None, nodes: int | None = None, **resources: int) -> dict[str, int | None]:
    """Return the limits of a run that was started with such options, after it is fitted to the machine."""
    known = Resources.from_mapping(resources)
    run = SimpleNamespace(resource_settings=SimpleNamespace(cores=cores, nodes=nodes), global_resources=known)
    run.register_resource = known.__setitem__
    startup.limit_to_machine(run)
    return {"cores": run.resource_settings.cores, **{name: known[name].value for name in known}}


def test_all_cores_of_the_host_are_those_of_the_container_and_its_memory_is_a_resource(group, monkeypatch, capsys):
    group(V2)
    monkeypatch.setattr(startup, "available_cpu_count", lambda: HOST)
    assert limited(HOST) == {"cores": 2, "_cores": 2, "mem_mb": 1500}
    assert capsys.readouterr().err.startswith("This process may use 2 of the 64 CPU cores of the machine")
    assert limited(8) == {"cores": 8, "mem_mb": 1500}, "as the user asked"
    assert limited(1, mem_mb=700)["mem_mb"] == 700
    assert limited(HOST, nodes=100) == {"cores": HOST} and limited(None) == {"cores": None}
    assert capsys.readouterr().err == ""


def test_jobs_of_more_memory_than_the_machine_has_do_not_run_at_the_same_time(group):
    group(V2)
    assert limited(2)["mem_mb"] * 10**6 <= machine.memory().free <= machine.memory().total == 4 * GB
    group({"memory.max": "1000", "memory.current": "2000"})
    assert limited(2)["mem_mb"] == 1, "one after another"
