"""The processor time of another process."""

from __future__ import annotations

import ctypes
import os
import time


def cpu_s(pid: int) -> float:
    """Seconds that a process has used so far, user and system, with all its threads, those that have ended included.

    By its CPU clock (clock_getcpuclockid(3)): to the nanosecond, where /proc/PID/stat counts in ticks of 10 ms.
    """
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise ProcessLookupError(error, os.strerror(error))
    return time.clock_gettime(clock.value)
