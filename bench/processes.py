"""Processes of the run: started, measured by /proc, and ended by their id."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CORES = 2
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 20.0  # seconds that a server has to end


def confine() -> list[int]:
    """Keep this process, and all that it starts, to the first two cores; which those are."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)
    return cores


@contextmanager
def running(command: Sequence[str | Path], told: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """The process's id; what it prints goes to the file `told`. It ends with the block."""
    with told.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt from the keyboard is for the bench, which then ends this one
        )
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                for pid in reversed(tree(process.pid)):
                    os.kill(pid, signal.SIGKILL)
                process.wait()


def tree(root: int) -> list[int]:
    """The process and all that descend from it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu(roots: Sequence[int]) -> float:
    """Seconds of CPU that these processes, their descendants and those of them that have ended took so far."""
    stats = [_fields(pid) for root in roots for pid in tree(root)]
    # utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5), counted from the state, the third.
    return sum(int(value) for fields in stats for value in fields[11:15]) / TICK


def memory(root: int) -> list[float]:
    """Resident megabytes of each descendant, the largest first; of the process itself if it has none."""
    descendants = tree(root)[1:] or [root]
    return sorted((_resident(pid) for pid in descendants), reverse=True)


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat behind the name, which may hold anything; empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
