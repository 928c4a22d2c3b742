"""A shell whose `carnet` is imported once: each command is the real one, in a process of its own.

`carnet` in the shell's PATH hands its arguments, environment, folder and streams to a process
that has imported everything already, and that forks for each. Thirty commands would else spend
a minute on importing.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

_CLIENT: Final = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    told = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(told).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(told)
    sys.exit(int(server.makefile().readline() or 255))
"""

_SERVER: Final = """
import json, os, signal, socket, sys, threading
from services.cli.main import main

def run(client, fds, told):
    arguments, folder, environment = json.loads(told)
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["carnet", *arguments]
    main()

def read(client, size):
    data = b""
    while len(data) < size:
        data += client.recv(size - len(data))
    return data

with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    print("ready", flush=True)
    while True:
        client, _ = server.accept()
        size, fds, _, _ = socket.recv_fds(client, 4, 3)
        told = read(client, int.from_bytes(size, "big"))
        pid = os.fork()
        if pid == 0:
            server.close()
            client.close()
            run(client, fds, told)
            sys.exit(0)
        for fd in fds:
            os.close(fd)
        def tell(client=client, pid=pid):
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            client.sendall(b"%d\\n" % code)
            client.close()
        threading.Thread(target=tell).start()
"""


class Shell:
    """Runs lines as a shell does."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(
        self, line: str, *, folder: Path, environment: Mapping[str, str], answer: str
    ) -> tuple[int, str]:
        """The line's exit code, and all that it said."""
        process = await asyncio.create_subprocess_shell(
            line,
            cwd=folder,
            env={**environment, "PATH": f"{self._path}:{os.environ['PATH']}"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate(answer.encode())
        return process.returncode or 0, said.decode()


@asynccontextmanager
async def warm_shell() -> AsyncIterator[Shell]:
    """A shell with `carnet` in its path."""
    with tempfile.TemporaryDirectory(prefix="carnet-") as folder:  # short: it holds a socket
        address = f"{folder}/socket"
        _write(Path(folder, "carnet"), _CLIENT.format(python=sys.executable, address=address))
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _SERVER, address), stdout=asyncio.subprocess.PIPE
        )
        try:
            if server.stdout is None or await server.stdout.readline() != b"ready\n":
                raise RuntimeError("the commands cannot be imported")
            yield Shell(Path(folder))
        finally:
            server.send_signal(signal.SIGTERM)
            await server.wait()


def _write(command: Path, text: str) -> None:
    command.write_text(text)
    command.chmod(0o700)
