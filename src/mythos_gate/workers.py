"""The service's processes: workers on one socket, and the sequencer. All are forked from one that has imported it.

uvicorn's own supervisor starts each by importing everything anew, which costs seconds of a restart.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from mythos_gate.errors import Misconfigured

ENDING = (signal.SIGTERM, signal.SIGINT)
PAUSE = 1.0  # seconds before what failed is started again
NOT_STARTED = 3  # uvicorn's exit code of a service that cannot start

logger = logging.getLogger(__name__)


class Workers:
    """One that ends is replaced, unless it could not start. All end with the first, and by SIGTERM or SIGINT."""

    def __init__(self, config: uvicorn.Config, count: int, beside: Callable[[], None] | None = None) -> None:
        self._config = config
        self._count = count
        self._beside = beside
        self._processes: dict[int, Callable[[], int]] = {}
        self._stopping = False
        self._alive = os.pipe()  # only the first process holds its writing end: the others read that it has ended

    def run(self) -> None:
        """Until all have ended. `SystemExit` if one could not start."""
        listening = self._config.bind_socket()
        failed = False
        for each in ENDING:
            signal.signal(each, lambda *_: self._stop())
        try:
            if self._beside is not None:
                self._start(self._run_beside)
            for _ in range(self._count):
                self._start(lambda: self._serve(listening))
            while self._processes:
                process, status = os.wait()
                work = self._processes.pop(process)
                failed = failed or os.waitstatus_to_exitcode(status) == NOT_STARTED
                if failed:
                    self._stop()
                elif not self._stopping:
                    logger.error("process %s ended with %s", process, os.waitstatus_to_exitcode(status))
                    self._start(work)
        finally:
            listening.close()
        if failed:
            sys.exit(NOT_STARTED)

    def _start(self, work: Callable[[], int]) -> None:
        # A signal waits until the process is known here, or has put off the handlers of the first one.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        process = os.fork()
        if process:
            self._processes[process] = work
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            if self._stopping:
                self._stop()
            return
        code = NOT_STARTED
        try:
            for each in ENDING:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            threading.Thread(target=self._outlive_nobody, daemon=True).start()
            code = work()
        finally:
            os._exit(code)  # nothing of what the first process would do at its end

    def _outlive_nobody(self) -> None:
        reading, writing = self._alive
        os.close(writing)
        os.read(reading, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _serve(self, listening: socket.socket) -> int:
        server = uvicorn.Server(self._config)
        server.run([listening])
        return 0 if server.started else NOT_STARTED

    def _run_beside(self) -> int:
        assert self._beside is not None
        try:
            self._beside()
        except Misconfigured as error:
            logger.critical("%s", error)
            return NOT_STARTED
        except Exception:
            # It is started again: what keeps it from the log's tree must not end the decisions.
            logger.exception("the process beside the workers failed")
        time.sleep(PAUSE)
        return 1

    def _stop(self) -> None:
        self._stopping = True
        for process in self._processes:
            with suppress(ProcessLookupError):  # it has ended, and was waited for a moment ago
                os.kill(process, signal.SIGTERM)
