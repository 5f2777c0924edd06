# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A PostgreSQL server of its own for tests, in a folder, with a socket and without a port."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
_USER = "postgres"
_NUMBERS = itertools.count(1)

NOT_INSTALLED = None if _PROGRAMS else "PostgreSQL is not installed: apt-get install postgresql"
"""Why no server can be started, or None."""


@dataclasses.dataclass
class PostgresServer:
    """A server. `folder` has its data and its socket."""

    folder: Path
    shared: str | None = None

    @classmethod
    @contextlib.contextmanager
    def run(cls, *, fsync: bool = False) -> t.Iterator[PostgresServer]:
        """Create and start a server, and remove it at the end."""
        # The path of a socket is short, and the server runs as another user than root.
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        server = cls(folder)
        try:
            if os.getuid() == 0:
                shutil.chown(folder, _USER, _USER)
            folder.chmod(0o755)
            server._call("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "-D", "data")
            options = "listen_addresses = ''\nmax_connections = 100\nshared_buffers = 64MB\n"
            options += f"unix_socket_directories = '{folder}'\n" + ("" if fsync else "fsync = off\n")
            with folder.joinpath("data", "postgresql.auto.conf").open("a", encoding="utf-8") as file:
                file.write(options)
            server.start()
            yield server
            server.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._call("pg_ctl", "start", "--wait", "--silent", "-D", "data", "-l", "log")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server."""
        self._call("pg_ctl", "stop", "--wait", "--silent", "-m", mode, "-D", "data")

    def database(self) -> str:
        """Create an empty database and return its address."""
        name = f"livepatch_{next(_NUMBERS)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.address(name)

    def empty_database(self) -> str:
        """Return a database without tables. Each call empties it: creating one takes longer than a test."""
        if self.shared is None:
            self.shared = self.database()
        self.sql("DROP SCHEMA IF EXISTS livepatch CASCADE", self.shared)
        return self.shared

    def address(self, name: str, user: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://{user}@/{name}?host={self.folder}"

    def sql(self, statements: str, address: str | None = None) -> list[tuple[t.Any, ...]]:
        """Run statements and return the rows of the last one."""
        import psycopg

        with psycopg.connect(address or self.address("postgres"), autocommit=True) as connection:
            cursor = connection.execute(statements)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def _call(self, program: str, *words: str) -> None:
        command = [str(_PROGRAMS[-1] / program), *words]
        if os.getuid() == 0:
            command = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *command]
        # The server keeps the outputs that it inherits.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(command, cwd=self.folder, stdout=output, stderr=output, check=False)
            output.seek(0)
            assert done.returncode == 0, output.read().decode()
