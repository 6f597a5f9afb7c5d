"""Session: run a program in ONNX Runtime, on CPU or CUDA. The only user of onnxruntime's sessions."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .asked import threads_of
from .errors import DeviceError, FgcamError, InputError, ModelError, NumericsError
from .graph.emitter import OUTPUT
from .graph.model import Model, element_type, smallest_program
from .surgery.masks import masked_by_products
from .surgery.precomputed import precomputed
from .surgery.products import overflowing_program
from .wheels import FATAL_ONLY, is_installed, onnxruntime_module

if TYPE_CHECKING:
    import onnxruntime

DEVICES = ("auto", "cpu", "cuda")
LOST = "is not a graph input, initializer, or output of a previous node"
"""What ONNX Runtime says of a graph that its own rewriting has broken."""

OPTIMIZATIONS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "off": "ORT_DISABLE_ALL",
}
"""How far ONNX Runtime rewrites a graph before it runs it, and its own name for that."""


@functools.cache
def resolve_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``.

    ``auto`` takes CUDA where it works and says once when it falls back although the GPU wheel is installed.

    Raises
    ------
    DeviceError
        CUDA was asked for and is not there: names the package or library that is missing.
    """
    if device not in DEVICES:
        raise DeviceError(f"unknown device {device!r}; choose one of {', '.join(DEVICES)}")
    if device == "cpu":
        return "cpu"
    problem = _cuda_problem()
    if problem is None:
        return "cuda"
    if device == "cuda":
        raise DeviceError(problem)
    if is_installed("onnxruntime-gpu"):
        warnings.warn(f"running on the CPU: {problem}", stacklevel=2)
    return "cpu"


def _cuda_problem() -> str | None:
    """Return why CUDA cannot be used, or None."""
    runtime = onnxruntime_module()
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        return (
            "CUDA needs the package onnxruntime-gpu, but the CPU-only onnxruntime is installed; "
            'pip uninstall onnxruntime, then pip install "fgcam-onnx[gpu]"'
        )
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    try:
        session = runtime.InferenceSession(smallest_program(), providers=["CUDAExecutionProvider"])
        if "CUDAExecutionProvider" in session.get_providers():
            session.run(None, {"x": np.ones(1, np.float32)})
            return None
    except Exception as error:  # onnxruntime's own exception classes share no root
        return f"CUDA does not start: {error}"
    return (
        "onnxruntime-gpu is installed, but a CUDA library is missing (cuBLAS, cuDNN or the driver); "
        'pip install "fgcam-onnx[gpu]" brings the libraries, the NVIDIA driver must be there'
    )


@functools.cache
def saturates() -> bool:
    """Return whether this processor's kernels cut sums of integer products off at 16 bits, found by such a product."""
    runtime = onnxruntime_module()
    program, feeds, exact = overflowing_program()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    (found,) = runtime.InferenceSession(program, options, providers=["CPUExecutionProvider"]).run(None, feeds)
    return bool((found != exact).any())


@dataclass(eq=False)
class Session:
    """A program, ready to run.

    Parameters
    ----------
    model : Model
    device : {"auto", "cpu", "cuda"}
    threads : int
        Threads inside an operator; 0 lets ONNX Runtime choose.
    optimization : {"all", "extended", "basic", "off"}
        How far it rewrites the graph before it runs it.

    Raises
    ------
    DeviceError
        The runtime or the device is missing.
    FgcamError
        ONNX Runtime refuses the program.
    """

    model: Model
    device: str = "cpu"
    threads: int = 0
    optimization: str = "all"
    _inner: onnxruntime.InferenceSession = field(init=False, repr=False)
    _beside: list[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        runtime = onnxruntime_module()
        self.device = resolve_device(self.device)
        lowered = masked_by_products(self.model) if self.device == "cpu" else self.model
        graph, beside = precomputed(lowered).serialized()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads_of(self.threads)
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, OPTIMIZATIONS[self.optimization])
        options.log_severity_level = FATAL_ONLY
        # the session reads these arrays without a copy, so they must live as long as it does
        self._beside = [_ort_value(runtime, a) for a in beside.values()]
        options.add_external_initializers(list(beside), self._beside)
        cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
        providers = ["CPUExecutionProvider"] if self.device == "cpu" else [cuda, "CPUExecutionProvider"]
        try:
            self._inner = _opened(runtime, graph, options, providers)
        except Exception as error:  # onnxruntime's own exception classes share no root
            raise FgcamError(f"ONNX Runtime does not load the model: {error}") from error

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the program on ``feeds`` and return its outputs by name.

        Raises
        ------
        InputError
            An input is missing or does not fit.
        FgcamError
            ONNX Runtime fails, for instance for want of memory.
        """
        names = [o.name for o in self._inner.get_outputs()]
        public = [n.removeprefix(OUTPUT) for n in names]
        wanted = {i.name for i in self._inner.get_inputs()}
        missing = wanted - feeds.keys()
        if missing:
            raise InputError(f"no value for input {', '.join(map(repr, sorted(missing)))}")
        arrays = {n: np.asarray(feeds[n], order="C") for n in wanted}
        try:
            if self.device == "cuda":
                return dict(zip(public, self._bound(arrays, names), strict=True))
            return dict(zip(public, self._inner.run(names, arrays), strict=True))
        except Exception as error:  # onnxruntime's own exception classes share no root
            raise FgcamError(f"ONNX Runtime failed: {error}") from error

    def _bound(self, arrays: Mapping[str, NDArray[Any]], names: list[str]) -> list[NDArray[Any]]:
        """Run with inputs and outputs bound, so that each crosses to the device and back once."""
        binding = self._inner.io_binding()
        for name, array in arrays.items():
            binding.bind_cpu_input(name, array)
        for name in names:
            binding.bind_output(name, "cpu")
        self._inner.run_with_iobinding(binding)
        outputs: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return outputs


def _opened(runtime: Any, graph: bytes, options: Any, providers: list[Any]) -> onnxruntime.InferenceSession:
    """Open a session, a second time without an optimization that loses a padded tensor where others read it, too."""
    try:
        return runtime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # onnxruntime's own exception classes share no root
        if LOST not in str(error):
            raise
        return runtime.InferenceSession(graph, options, providers=providers, disabled_optimizers=["Pad_Fusion"])


@contextmanager
def accountable(model: Model) -> Iterator[None]:
    """Hold the file to account for what breaks while a program is built on it, where ONNX Runtime does not run it.

    Formulas are written for valid operators, and no inference checks all of what the standard asks of them. Free sizes
    are taken for 1.

    Raises
    ------
    ModelError
        With the runtime's reason.
    FgcamError
        The memory does not hold what the model makes.
    """
    try:
        yield
    except FgcamError:
        raise
    except MemoryError as error:
        raise FgcamError(f"there is not memory enough for the model: {error}") from error
    except Exception as error:
        try:
            blank = {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], i.dtype) for i in model.inputs}
            Session(model, threads=1).run(blank)
        except FgcamError as refusal:
            raise ModelError(f"the graph is not valid ONNX: {refusal}") from error
        except MemoryError:
            pass
        raise


def _ort_value(runtime: Any, array: NDArray[Any]) -> Any:
    """Wrap ``array``; types that NumPy lacks (bfloat16) are told by onnx's number."""
    array = np.ascontiguousarray(array)
    if array.dtype.isbuiltin == 1:
        return runtime.OrtValue.ortvalue_from_numpy(array)
    return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, element_type(array.dtype))


def check_finite(outputs: Mapping[str, NDArray[Any]], what: str) -> None:
    """Refuse NaN and infinite values.

    Raises
    ------
    NumericsError
        Naming the output and how many of its values are not finite.
    """
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise NumericsError(
                f"{what}: {bad} of {array.size} values of {name!r} are NaN or infinite; "
                "check the preprocessing (a wrong scale overflows) or the model"
            )
