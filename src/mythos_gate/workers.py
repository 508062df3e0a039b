"""The service's processes: workers on one socket, and the sequencer. All are forked from one that has imported it.

uvicorn's own supervisor starts each by importing everything anew, which costs seconds of a restart.
"""

import logging
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import uvicorn

from mythos_gate.errors import Misconfigured

ENDING = (signal.SIGTERM, signal.SIGINT)
PAUSE = 1.0  # seconds before what failed is started again
NOT_STARTED = 3  # uvicorn's exit code of a service that cannot start

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Process:
    work: Callable[[], int]  # until it ends, as its exit code
    began: float  # monotonic


class Workers:
    """One that ends is replaced. All end with the first, and by SIGTERM or SIGINT.

    One that cannot start ends all if none was up yet: so a wrong configuration is told. Later, what keeps it from
    starting may pass, such as a database that comes back a moment after it: it is tried again, for ever.
    """

    def __init__(self, config: uvicorn.Config, count: int, beside: Callable[[], None] | None = None) -> None:
        self._config = config
        self._count = count
        self._beside = beside
        self._processes: dict[int, _Process] = {}
        self._stopping = False
        self._was_up = mmap.mmap(-1, 1)  # shared by all: 1 once a worker was up
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
                failed = not self._replace(*os.wait()) or failed
        finally:
            listening.close()
        if failed:
            sys.exit(NOT_STARTED)

    def _replace(self, process: int, status: int) -> bool:
        """Start what ended anew. False if it is to end all the others instead."""
        ended, code = self._processes.pop(process, None), os.waitstatus_to_exitcode(status)
        if ended is None:  # an orphan of somebody else's: the first process of a container inherits those
            return True
        if code == NOT_STARTED and not self._was_up[0]:
            self._stop()
            return False
        if not self._stopping:
            in_vain = code == NOT_STARTED or time.monotonic() - ended.began < PAUSE
            if code != NOT_STARTED:  # else it has said why
                logger.error("process %s ended with %s", process, code)
            self._start(ended.work, PAUSE if in_vain else 0)
        return True

    def _start(self, work: Callable[[], int], pause: float = 0) -> None:
        # A signal waits until the process is known here, or has put off the handlers of the first one.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        process = os.fork()
        if process:
            self._processes[process] = _Process(work, time.monotonic() + pause)
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
            time.sleep(pause)  # here, so that the first process goes on replacing others
            code = work()
        except Exception:
            logger.exception("a process failed")
        finally:
            os._exit(code)  # nothing of what the first process would do at its end

    def _outlive_nobody(self) -> None:
        reading, writing = self._alive
        os.close(writing)
        os.read(reading, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _serve(self, listening: socket.socket) -> int:
        server = _Server(self._config, self._was_up)
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
        return 1

    def _stop(self) -> None:
        self._stopping = True
        for process in self._processes:
            with suppress(ProcessLookupError):  # it has ended, and was waited for a moment ago
                os.kill(process, signal.SIGTERM)


class _Server(uvicorn.Server):
    """One that tells when it is up."""

    def __init__(self, config: uvicorn.Config, was_up: mmap.mmap) -> None:
        super().__init__(config)
        self._was_up = was_up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._was_up[0] = 1
