"""Name the process that holds a lease or a claim, and tell whether one on this host has ended."""

from __future__ import annotations

import os
import re
import secrets
import socket

OWNER = re.compile(r"(.+) ([1-9]\d{0,8}) (\d{1,12}\.\d\d) (\d{1,20}) [0-9a-f]{16}")  # host, process, its start, its namespace, one object
SAME_START = 2.0  # seconds by which two readings of a process's start may differ


def own_identity() -> str:
    """Name this host, this process by id, start (process ids are used again) and namespace, and one object in it by a random token."""
    import psutil

    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid} {_start(process):.2f} {_namespace()} {secrets.token_hex(8)}"


def gone(owner: str) -> bool:
    """Tell whether the process that an owner names has ended; False where that cannot be known: on another host, in another container."""
    import psutil

    host, pid, start, namespace = OWNER.fullmatch(owner).groups()  # type: ignore[union-attr] - only such owners count
    if (host, int(namespace)) != (socket.gethostname(), _namespace()):
        return False
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or abs(_start(process) - float(start)) > SAME_START
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # it exists; its lease decides
        return False


def _namespace() -> int:
    """Return in which namespace process ids count (Linux, else 0): containers may share a host name and a folder, but see no processes."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _start(process) -> float:  # type: ignore[no-untyped-def] - psutil is imported late
    """Return when a process began, in seconds after the system's start: setting the clock does not change it."""
    import psutil

    return max(0.0, process.create_time() - psutil.boot_time())


def shown(owner: str) -> str:
    """Name an owner to people."""
    host, pid, *_ = owner.rsplit(" ", 4)
    return f"process {pid} on {host}"
