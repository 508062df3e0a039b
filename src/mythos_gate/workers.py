"""Several processes on one socket. The service is imported once and forked: they are there in a fraction of the time.

uvicorn's own supervisor starts each by importing everything anew, which costs seconds of a restart.
"""

import logging
import os
import signal
import socket
import sys

import uvicorn

NOT_STARTED = 3  # uvicorn's exit code of a service that cannot start

logger = logging.getLogger(__name__)


class Workers:
    """One that ends is replaced, unless it could not start; SIGTERM and SIGINT end all of them."""

    def __init__(self, config: uvicorn.Config, count: int) -> None:
        self._config = config
        self._count = count
        self._processes: set[int] = set()
        self._stopping = False

    def run(self) -> None:
        """Until all have ended. `SystemExit` if one could not start."""
        listening = self._config.bind_socket()
        failed = False
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: self._stop())
        try:
            for _ in range(self._count):
                self._start(listening)
            while self._processes:
                process, status = os.wait()
                self._processes.discard(process)
                failed = failed or os.waitstatus_to_exitcode(status) == NOT_STARTED
                if failed:
                    self._stop()
                elif not self._stopping:
                    logger.error("worker %s ended with %s", process, os.waitstatus_to_exitcode(status))
                    self._start(listening)
        finally:
            listening.close()
        if failed:
            sys.exit(NOT_STARTED)

    def _start(self, listening: socket.socket) -> None:
        process = os.fork()
        if process:
            self._processes.add(process)
            return
        code = NOT_STARTED
        try:
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, signal.SIG_DFL)
            server = uvicorn.Server(self._config)
            server.run([listening])
            code = 0 if server.started else NOT_STARTED
        finally:
            os._exit(code)  # nothing of what the first process would do at its end

    def _stop(self) -> None:
        self._stopping = True
        for process in self._processes:
            os.kill(process, signal.SIGTERM)
