"""Say what this machine is: cores, memory, the arithmetic of its processor, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from workbench.evaluation import package_versions

CPUINFO = Path("/proc/cpuinfo")
FAST = {  # formats of numbers, and the flags of x86 and ARM processors that compute in them quickly
    "fp32": ("avx2", "avx512f", "asimd", "sve"),
    "fp16": ("f16c", "avx512_fp16", "asimdhp"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "int8": ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"),
}
PACKAGES = ("onnxruntime", "openvino", "openvino-genai", "nncf", "papermill", "ipykernel")  # beside those that results name


def machine() -> dict[str, Any]:
    """Return cores, threads (OMP_NUM_THREADS, else the cores), memory, the processor with its flags by format (FAST), system, versions.

    What the operating system does not tell is None, or no flags (only Linux tells them).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name, flags = processor()
    return {
        "cores": cores,
        "threads": threads(cores),
        "memory_gb": memory_gb(),
        "processor": name or platform.processor() or platform.machine(),
        "arithmetic": {kind: [flag for flag in known if flag in flags] for kind, known in FAST.items()},
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
    }


def threads(cores: int) -> int:
    """Return how many threads the numerical libraries use."""
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(named) if named.isascii() and named.isdigit() and int(named) else cores


def memory_gb() -> float | None:
    """Return the memory of this machine in GB, None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, others not these names
        return None


def processor(cpuinfo: Path = CPUINFO) -> tuple[str, set[str]]:
    """Return the name and the flags of the processor, empty where there is no such file (no Linux)."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", set()
    fields = dict(reversed([(name.strip(), value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon]))
    return fields.get("model name", ""), set((fields.get("flags") or fields.get("Features") or "").split())


def versions() -> dict[str, str]:
    """Return the versions of Python and of what decides speed, as far as it is installed; imports none of it."""
    found = {"python": ".".join(map(str, sys.version_info[:3])), **package_versions()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
