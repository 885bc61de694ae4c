"""A PostgreSQL cluster of its own. Tests skip if PostgreSQL is not installed."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port, wait_until

USERS = ("postgres", "nobody")
"""Who runs the server, which refuses to run as root: the first that exists."""

PASSWORD = "correct-horse"  # noqa: S105  of the cluster that is started here


def find(program: str) -> str:
    """Find *program*, else skip the test; with REQUIRE_REAL_SERVERS=1 fail it."""
    # Debian does not put the server's programs on the PATH.
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    found = shutil.which(program) or (str(versions[-1]) if versions else None)
    if found is not None:
        return found
    text = f"{program} is not installed: apt-get install postgresql"
    if os.environ.get("REQUIRE_REAL_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)


def _unprivileged() -> dict[str, Any]:
    """Return the arguments with which a program is started as another user than root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = next(known[name] for name in USERS if name in known)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """
    A cluster on 127.0.0.1, which can be stopped and started.

    Attributes:
        address: ``127.0.0.1:PORT``.
    """

    def __init__(self, folder: Path) -> None:
        self._as = _unprivileged()
        self._data = folder / "data"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        if self._as:
            os.chown(folder, self._as["user"], self._as["group"])
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        command = [
            find("initdb"),
            f"--pgdata={self._data}",
            "--username=exporter",
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **self._as)
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",
            "log_min_messages": "panic",
        }
        command = [find("postgres"), "-D", str(self._data)]
        command += [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            command, cwd=self._data, stderr=subprocess.DEVNULL, **self._as
        )
        wait_until(self._answers, "PostgreSQL accepts connections")

    def stop(self) -> None:
        """Stop at once, as in a power failure."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(20)

    def freeze(self) -> None:
        """Stop answering, without closing a connection."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def create_schema(self) -> str:
        """Create an empty schema, far smaller than a database; the URL of a client that uses it."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return self._url(name)

    def execute(self, statement: str, schema: str = "public") -> list[tuple[Any, ...]]:
        """Run a statement as the owner of the cluster and return its rows."""
        import psycopg  # noqa: PLC0415  an extra

        with psycopg.connect(self._url(schema), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _url(self, schema: str) -> str:
        options = f"options=-csearch_path%3D{schema}"
        return f"postgresql://exporter:{PASSWORD}@{self.address}/postgres?{options}"

    def _answers(self) -> bool:
        import psycopg  # noqa: PLC0415  an extra

        assert self._process is not None
        assert self._process.poll() is None, "PostgreSQL has ended"
        try:
            return self.execute("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def _signal_all(self, number: int) -> None:
        """Send a signal to the server and the processes of its connections."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in [self._process.pid, *map(int, children.read_text().split())]:
            os.kill(pid, number)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL cluster."""
    find("initdb")
    # Not in pytest's folder, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.stop()
