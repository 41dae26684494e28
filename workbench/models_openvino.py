"""Keep models as OpenVINO graphs beside the stored ones: converted and quantised once, checked whenever loaded; run texts on all cores."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import models, models_onnx, models_trained, storage
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    import openvino

FOLDER = ".openvino"  # in the store
GRAPH, WEIGHTS = "openvino_model.xml", "openvino_model.bin"  # what openvino-genai looks for
SAMPLES = Path(__file__).resolve().parent / "demo"
SAMPLE_LENGTHS = (50, 200, 600, 1500)  # characters, in turns: from questions to chunks
WAITING = 2  # texts for each core: one is computed while another one waits
BUCKET, PADDING = 16, -1  # tokens: a text is padded to a multiple, as each new length costs time and, in int8, megabytes that are kept


def runtime() -> Any:
    """Import openvino so that neither it nor nncf sends usage data: where the package for that cannot be imported, both do without."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def reason(error: RuntimeError) -> str:
    """Return what an error of OpenVINO says in the end; before it stand places in its code."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages, importing none."""
    return {package: importlib.metadata.version(package) for package in packages}


def samples(languages: Sequence[str]) -> list[str]:
    """Return the texts that activations are measured on: a part of every packaged demo document in these languages ("en", "ko")."""
    texts = []
    for language in languages:
        files = sorted((SAMPLES / language).glob("*/*.md"), key=lambda file: file.as_posix())
        for number, file in enumerate(files):
            text = file.read_text(encoding="utf-8")
            start = len(text) // 3  # past the headings, which are alike
            texts.append(text[start : start + SAMPLE_LENGTHS[number % len(SAMPLE_LENGTHS)]])
    return texts


def stored_graph(name: str, identity: Mapping[str, Any], build: Callable[[], openvino.Model]) -> Path:
    """Return the file of the graph that `identity` (JSON: all that decides the graph) stands for; build it when absent or damaged.

    Every byte is checked by its sha256. Two processes may build the same graph at once: both work apart, the first to finish is kept.
    """
    key = storage.fingerprint(identity)
    shown = models_trained.shown(name).replace("/", "--")
    folder = models.store() / FOLDER / f"{shown}-{key[:16]}"
    if not _intact(folder, key):
        models._sweep(folder.parent)
        with tempfile.TemporaryDirectory(prefix=f".{shown}.", suffix=".tmp", dir=folder.parent, ignore_cleanup_errors=True) as work:
            built = Path(work) / "graph"
            try:
                _write(built, {"name": shown, "identity": identity, "key": key}, build())
            except RuntimeError as error:
                raise WorkbenchError(f"OpenVINO cannot keep a graph of {name} in {folder.parent}: {reason(error)}") from None
            if folder.is_dir() and not _intact(folder, key):
                with contextlib.suppress(FileNotFoundError):  # another process has just discarded it
                    folder.rename(Path(work) / "damaged")
            try:
                built.rename(folder)
            except OSError as error:
                if not _intact(folder, key):
                    raise WorkbenchError(f"cannot put the graph of {name} into {folder}: {error}") from None
    return folder / GRAPH


def remove_graphs() -> int:
    """Remove all graphs of the store and return how many bytes they had; each is made again at its next use, and one in the making stays.

    Raise WorkbenchError for one that cannot be removed.
    """
    size = 0
    for graph in (models.store() / FOLDER).glob("[!.]*"):
        held = sum(file.stat().st_size for file in graph.iterdir())
        try:
            shutil.rmtree(graph)
        except OSError as error:
            raise WorkbenchError(f"cannot remove the graph {graph}: {error}") from None
        size += held
    return size


def _write(folder: Path, facts: Mapping[str, Any], graph: openvino.Model) -> None:
    folder.mkdir()
    runtime().save_model(graph, folder / GRAPH, compress_to_fp16=False)
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": storage.sha256_file(folder / name)} for name in (GRAPH, WEIGHTS)}
    manifest = {**facts, "files": files, "fingerprint": storage.fingerprint({name: file["sha256"] for name, file in files.items()})}
    storage.write_json(folder / models.MANIFEST, manifest | {"checksum": storage.fingerprint(manifest)})


def _intact(folder: Path, key: str) -> bool:
    """Tell whether a folder holds the graph of this key with every byte as it was written."""
    try:
        manifest = storage.read_json(folder / models.MANIFEST)
    except WorkbenchError:
        return False
    if not isinstance(manifest, dict) or manifest.pop("checksum", None) != storage.fingerprint(manifest) or manifest["key"] != key:
        return False
    files = [(folder / name, manifest["files"].get(name, {}).get("sha256")) for name in (GRAPH, WEIGHTS)]
    return all(file.is_file() and storage.sha256_file(file) == expected for file, expected in files)


def convert(module: Any, example: Mapping[str, Any]) -> openvino.Model:
    """Trace a torch module on tensors of (texts, tokens), by the names of its inputs; both dimensions stay free, weights stay float32."""
    import torch

    openvino = runtime()
    free = [(name, openvino.PartialShape([-1, -1]), openvino.Type(tensor.numpy().dtype)) for name, tensor in example.items()]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what tracing fixes is the same for every text
        return openvino.convert_model(module, example_input=dict(example), input=free)


def quantise(graph: openvino.Model, feeds: Sequence[Mapping[str, np.ndarray]]) -> openvino.Model:
    """Return the graph in int8: weights by channel, activations by scales fixed on these inputs, so no text changes another's numbers."""
    runtime()
    with contextlib.redirect_stdout(io.StringIO()):  # its log and progress bars
        import nncf

        return nncf.quantize(graph, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(feeds))


class Graph:
    """Run a graph of one input (tokens, PADDING at the end) and one output (a vector) on the processor, each text alone on one core.

    So a text's vector depends neither on other texts nor on the number of cores, which is OMP_NUM_THREADS where that is set.
    `arithmetic` is "f32" or "bf16" for all that is not int8 in the graph; texts are padded to at most `max_length` tokens.
    """

    def __init__(self, name: str, path: Path, arithmetic: str, max_length: int | None) -> None:
        openvino = runtime()
        cores = models_onnx.threads() or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        options = {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores, "INFERENCE_PRECISION_HINT": arithmetic}
        options["ENABLE_CPU_PINNING"] = False  # several processes would all take the first cores
        self.name = name
        self._max_length = max_length
        self._compile = functools.partial(openvino.Core().compile_model, path, "CPU", options)
        self._waiting = cores * WAITING
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        openvino = runtime()
        try:
            compiled = self._compile()
        except RuntimeError as error:
            raise WorkbenchError(f"OpenVINO cannot load the model {self.name}: {reason(error)}") from None
        self.dimension = int(compiled.output(0).partial_shape[1].get_length())
        self._queue = openvino.AsyncInferQueue(compiled, self._waiting)  # kept: one that ends beside its callbacks can hang

    def run(self, texts: Iterable[tuple[int, Sequence[int]]]) -> dict[int, np.ndarray]:
        """Return the vectors of texts, given and returned by number; while they are computed, the next tokens are drawn."""
        vectors: dict[int, np.ndarray] = {}
        with self._lock:  # several threads may embed
            self._queue.set_callback(lambda request, row: vectors.__setitem__(row, request.get_output_tensor(0).data[0].copy()))
            try:
                try:
                    for number, tokens in texts:
                        if tokens:
                            width = -(-len(tokens) // BUCKET) * BUCKET
                            padded = np.full((1, min(width, self._max_length or width)), PADDING, np.int64)
                            padded[0, : len(tokens)] = tokens
                            self._queue.start_async({0: padded}, number)
                        else:
                            vectors[number] = np.zeros(self.dimension, np.float32)
                finally:
                    self._queue.wait_all()
            except RuntimeError as error:
                self._open()  # what has failed once, model and queue, fails for ever
                raise WorkbenchError(f"model {self.name} failed on a text: {reason(error)}") from None
        return vectors
