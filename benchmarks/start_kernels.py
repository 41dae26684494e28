"""Measure how long a kernel takes until its first cell has answered: ordinary, started ahead, and warm, in turns within one run.

The first cell imports the modules named by --modules: what every run of a sweep would import. "jupyter" is a kernel as nbclient starts it.
Between two kernels of a kind --pause seconds pass, as a run's work would; kernels that start ahead start then.

    python benchmarks/start_kernels.py --modules workbench.experiment torch
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workbench.engine_kernels import FreshKernels, KernelSource, WarmKernels


async def answer(kernel: Any, code: str) -> None:
    """Run one cell as nbclient's client does; raise when it fails."""
    client = kernel.client()
    client.start_channels()
    await client.wait_for_ready(timeout=120)
    reply = await client.execute_interactive(code, timeout=120, allow_stdin=False, output_hook=lambda message: None)  # noqa: ARG005
    client.stop_channels()
    if reply["content"]["status"] != "ok":
        raise RuntimeError(reply["content"]["evalue"])


async def measure(source: KernelSource | None, code: str, folder: Path) -> tuple[float, float]:
    """Return the seconds until the first answer, and those that the end took."""
    started = time.perf_counter()
    if source is None:
        from jupyter_client import AsyncKernelManager

        kernel: Any = AsyncKernelManager(kernel_name="python3")
        await kernel.start_kernel(cwd=str(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    else:
        kernel = source.take({}, folder)
    await answer(kernel, code)
    answered = time.perf_counter()
    await kernel.shutdown_kernel(now=True)
    return answered - started, time.perf_counter() - answered


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds")
    parser.add_argument("--modules", nargs="*", default=["workbench.experiment", "numpy"])
    arguments = parser.parse_args()
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] - two seconds of grammars that nothing here needs
    code = "\n".join(["print(1)", *(f"import {module}" for module in arguments.modules)])
    begun = time.perf_counter()
    sources: dict[str, KernelSource | None] = {
        "jupyter": None,
        "fresh": FreshKernels(0),
        "fresh, 1 ahead": FreshKernels(1),
        "warm": WarmKernels(0, arguments.modules),
        "warm, 1 ahead": WarmKernels(1, arguments.modules),
    }
    print(f"first cell imports {', '.join(arguments.modules) or 'nothing'}; sources ready after {time.perf_counter() - begun:.1f} s")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.runs):
            for name, source in sources.items():
                time.sleep(arguments.pause)
                times[name].append(asyncio.run(measure(source, code, Path(folder))))
    for source in sources.values():
        if source:
            source.close()
    print(f"{'kernel':<18}{'first answer, median':>22}{'slowest':>10}{'end, median':>14}   seconds of {arguments.runs}")
    for name, pairs in times.items():
        first, end = zip(*pairs, strict=True)
        print(f"{name:<18}{statistics.median(first):>22.3f}{max(first):>10.3f}{statistics.median(end):>14.3f}")


if __name__ == "__main__":
    main()
