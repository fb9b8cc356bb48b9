"""Write docs/kernels.md: what a training step asks of a GPU, and every CUDA kernel as NVIDIA's compiler sees it.

The kernels are recorded as CuPy hands them to its compiler, options included, while small networks train on a CUDA
device, which may be a simulated one; a simulated one also counts launches and copies. Then NVRTC from its own wheel
(pip install "gpunet[kernels]") compiles each for every compute capability; that takes no GPU.

    python scripts/kernel_report.py            write docs/kernels.md
    python scripts/kernel_report.py --check    fail if docs/kernels.md is out of date
"""

from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs" / "kernels.md"
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")


# --- NVIDIA's compiler -----------------------------------------------------------------------------------


def run_to(trainer: Any, goal: int) -> None:
    """The steps of a trainer up to `goal`, and nothing else; the last one writes its losses."""
    while trainer.iteration < goal:
        trainer.step.run(goal)


def find_nvrtc() -> str | None:
    """The library of the NVRTC wheel in this environment, or None."""
    for folder in sys.path:
        for place in ("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"):
            found = sorted(pathlib.Path(folder or ".", place).glob("libnvrtc.so.*"))
            if found:
                return str(found[0].resolve())
    return None


class Compiler:
    """NVRTC through ctypes: source in, what the assembler says of each kernel out."""

    def __init__(self, library: str) -> None:
        # The compiler looks for its builtins by their name alone; once they are loaded it finds them.
        for builtins in pathlib.Path(library).parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(library)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.version = f"{major.value}.{minor.value}"

    def compile(self, source: str, options: list[str], capability: str) -> dict[str, Any]:
        """Compile to machine code.

        Returns:
            "log", and under "kernels" for each entry function its registers, bytes of shared memory and of spills.

        Raises:
            RuntimeError: it does not compile; the text is the compiler's.
        """
        call = self._library
        program = ctypes.c_void_p()
        call.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
        chosen = [option for option in options if not option.startswith(("-arch", "--gpu-architecture", "--pch"))]
        chosen += [f"-arch=sm_{capability.replace('.', '')}", "--ptxas-options=-v"]
        array = (ctypes.c_char_p * len(chosen))(*(option.encode() for option in chosen))
        failed = call.nvrtcCompileProgram(program, len(chosen), array)
        size = ctypes.c_size_t()
        call.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        call.nvrtcGetProgramLog(program, buffer)
        call.nvrtcDestroyProgram(ctypes.byref(program))
        log = buffer.value.decode()
        if failed:
            raise RuntimeError(log)
        return {"log": log, "kernels": read_log(log)}


def read_log(log: str) -> dict[str, dict[str, int]]:
    """Registers, shared memory and spills of each kernel, from the assembler's verbose log."""
    kernels: dict[str, dict[str, int]] = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.split("'", 1)[0]
        found = {
            "registers": re.search(r"Used (\d+) registers", part),
            "shared": re.search(r"(\d+) bytes smem", part),
            "spills": re.search(r"(\d+) bytes spill stores", part),
            "stack": re.search(r"(\d+) bytes stack frame", part),
        }
        kernels[name] = {key: int(match.group(1)) if match else 0 for key, match in found.items()}
    return kernels


def faults(result: dict[str, Any]) -> list[str]:
    """Warnings and spills in what `Compiler.compile` gave."""
    found = [line for line in result["log"].splitlines() if "warning" in line.lower()]
    found += [f"{name} spills {facts['spills']} bytes" for name, facts in result["kernels"].items() if facts["spills"]]
    return found


def compile_job(job: dict[str, Any]) -> dict[str, Any]:
    """One kernel source for the job's compute capabilities, or for all, in a process of its own (a simulated CUDA has
    its own NVRTC).
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "job.json")
        path.write_text(json.dumps(job))
        clean = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
        command = [sys.executable, __file__, "--compile", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=clean, check=False)
        if done.returncode:
            raise SystemExit(f"{job['label']}: {done.stderr}")
        return json.loads(done.stdout)


def compile_file(path: str) -> None:
    """The process of `compile_job`."""
    job = json.loads(pathlib.Path(path).read_text())
    compiler = Compiler(job["library"])
    capabilities = job.get("capabilities", CAPABILITIES)
    results = {at: compiler.compile(job["source"], job["options"], at) for at in capabilities}
    json.dump({"version": compiler.version, "results": results}, sys.stdout)


# --- recording what CuPy hands to its compiler -----------------------------------------------------------


@contextmanager
def recording(found: list[tuple[str, tuple[str, ...]]]) -> Iterator[None]:
    """Add sources and options to `found` as they go into CuPy's compiler."""
    from cupy.cuda import compiler

    original = compiler._NVRTCProgram.compile

    def compile_and_note(program: Any, options: tuple[str, ...] = (), *others: Any) -> Any:
        # CuPy asks an empty program for the compiler's version, and has kernels of its own.
        ours = program.src and "gpunet_probe" not in program.src and not re.search(r"void cupy_\w+\(", program.src)
        if ours and (program.src, tuple(options)) not in found:
            found.append((program.src, tuple(options)))
        return original(program, options, *others)

    compiler._NVRTCProgram.compile = compile_and_note
    try:
        yield
    finally:
        compiler._NVRTCProgram.compile = original


def record() -> list[dict[str, Any]]:
    """Train small networks with everything that the tables offer; the kernels that this takes."""
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # else kernels that are on disk pass the compiler by
    import numpy as np

    import gpunet as gn
    from gpunet.kernels import launches
    from gpunet.kernels.column_sum import column_sum
    from gpunet.training import graph

    backend = gn.get_backend("cuda")
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 3
    pixels = rng.integers(0, 256, (40, 6)).astype(np.uint8)
    data = gn.Dataset.from_arrays(pixels, labels)
    of_floats = gn.Dataset.from_arrays(pixels.astype(np.float32) / 255, labels)
    of_soft_targets = gn.Dataset.from_arrays(pixels, rng.dirichlet(np.ones(3), 40).astype(np.float32))

    of_a_table = gn.load_dataset("wine")

    def train(
        of: Any = data, sizes: tuple[int, ...] = (6, 5, 3), fused: bool = False, count: int = 1, **options: Any
    ) -> None:
        graph.FUSED_FLOP = 1e30 if fused else 0
        model = {key: options.pop(key) for key in ("activation", "dropout", "dtype", "loss") if key in options}
        trainers = [
            gn.Trainer(gn.MLP(sizes, backend=backend, **model), of, iterations=2, batch_size=20, **options)
            for _ in range(count)
        ]
        with trainers[0]._running():
            if count > 1:
                graph.Graphs(backend).take([one.step for one in trainers])
            else:
                run_to(trainers[0], 2)

    found: list[tuple[str, tuple[str, ...]]] = []
    usual, many = graph.FUSED_FLOP, launches.MANY
    with recording(found):
        for fused in (True, False):
            for dtype in ("float32", "float64"):
                train(dtype=dtype, fused=fused)
                train(dtype=dtype, fused=fused, dropout=0.5, l2=0.1, clip_norm=1.0, max_norm=1.0)
            for name in gn.ACTIVATIONS:
                train(activation=name, fused=fused)
            for name in gn.LOSSES:
                train(loss=name, fused=fused)
            train(of_soft_targets, fused=fused)
            train(of_floats, fused=fused)
            train(of_a_table, sizes=(of_a_table.features, 5, 3), fused=fused)
            for entry in gn.OPTIMIZERS.values():
                train(optimizer=entry(), fused=fused)
        for dtype in ("float32", "float64"):
            train(sizes=(6, 120, 110, 3), dtype=dtype, fused=True)  # more than the head has room for
        launches.MANY = 1
        for entry in gn.OPTIMIZERS.values():
            train(optimizer=entry())
        for options in ({"precision": "bfloat16"}, {"l2": 0.1}, {"dtype": "float64", "l2": 0.1}):
            train(**options)
        launches.MANY = many
        for dtype in ("float32", "float64"):
            train(dtype=dtype, count=2, dropout=0.5, l2=0.1, clip_norm=1.0, max_norm=1.0)
        train(of_a_table, sizes=(of_a_table.features, 5, 3), count=2)
        for entry in gn.OPTIMIZERS.values():
            train(optimizer=entry(), count=2)
        train(precision="bfloat16", count=2)
        for dtype in ("float16", "float32", "float64"):
            with backend.use():
                logits = backend.to_device(rng.standard_normal((5, 4)).astype(dtype))
                column_sum(logits, backend.empty(4, dtype))
                gn.losses.softmax_cross_entropy(logits, backend.to_device(np.zeros(5, np.int32)))
                for name in gn.ACTIVATIONS if dtype == "float32" else ():
                    gn.kernels.activation.activation_forward(logits, gn.ACTIVATIONS[name], logits)
                    gn.kernels.activation.activation_backward(logits, logits, gn.ACTIVATIONS[name], logits)
    graph.FUSED_FLOP = usual
    return [{"source": source, "options": list(options), "label": describe(source)} for source, options in found]


TYPES = {"__half": "float16", "float": "float32", "double": "float64"}


def describe(source: str) -> str:
    """What a kernel source was made for, from the `#define`s in front of it and the functions in it."""
    import gpunet as gn
    from gpunet.kernels.build import one_line
    from gpunet.kernels.launches import EACH

    defines = dict(re.findall(r"^#define (\w+)(?:\([^)]*\))? (.*)$", source, re.MULTILINE))
    parts = []
    for name, activation in gn.ACTIVATIONS.items():
        texts = [activation.cuda_functions(suffix) for suffix in ("", "_0")]
        if any(text in source for text in texts):
            parts.append(name)
    for name, loss in gn.LOSSES.items():
        if defines.get("LOSS_VALUE") == f"({getattr(loss(), 'cuda_value', None)})":
            parts.append(name)
    if "LABEL_SMOOTHING" in defines:
        parts.append("softmax-cross-entropy")
    if "UPDATES" in defines:
        rules = {one_line(entry().cuda): name for name, entry in gn.OPTIMIZERS.items()}
        parts.append(rules[defines["RULE"]] if defines["UPDATES"] == "1" else "no update")
    if defines.get("SOFT") == "1":
        parts.append("soft targets")
    if defines.get("ENCODED") == "1":
        parts.append("tables")
    elif "IMAGE" in defines:
        parts.append("images of bytes" if defines["IMAGE"] == "unsigned char" else "images of floats")
    if defines.get("HELD") == "0":
        parts.append("more parameters than shared memory has room for")
    if f"write{EACH - 1}();" in source:
        parts.append("many elements")
    typedef = re.search(r"typedef (\w+) T;", source)
    parts.append(TYPES.get(defines.get("REAL", typedef.group(1) if typedef else "float"), "float16"))
    return ", ".join(parts)


# --- counting what a step asks of the device -------------------------------------------------------------

COUNTS = (
    ("launches from the host: kernels", lambda s: s["launches"]),
    ("launches from the host: cuBLAS", lambda s: 0 if s["graph_launches"] else s["blas_calls"]),
    ("launches from the host: graphs", lambda s: s["graph_launches"]),
    ("nodes in the graph", lambda s: s["graph_nodes"]),
    ("copies from the host", lambda s: s["h2d"]["count"]),
    ("bytes from the host", lambda s: s["h2d"]["bytes"]),
    ("copies to the host", lambda s: s["d2h"]["count"]),
    ("bytes to the host", lambda s: s["d2h"]["bytes"]),
    ("copies on the device", lambda s: s["d2d"]["count"]),
    ("synchronisations", lambda s: s["device_syncs"] + s["stream_syncs"] + s["event_syncs"] + s["implicit_syncs"]),
    ("allocations of device memory", lambda s: s["mallocs"]),
)


def count_steps() -> list[list[str]]:
    """The table of counts: a row each, for steps of all kinds, a log step and an epoch's end."""
    import gpunet as gn
    from gpunet.training import graph

    try:
        import cusim
    except ImportError:
        raise SystemExit("launches and copies are counted by a simulated CUDA device, and there is none.") from None
    data = gn.load_dataset("mnist-5k")
    columns = []
    usual = graph.FUSED_FLOP
    for way, graph.FUSED_FLOP in (("off", usual), ("on", 0), ("on", usual)):
        trainer = gn.Trainer(gn.MLP([784, 50, 30, 10], backend="cuda"), data, graph=way, iterations=200)
        with trainer._running():
            run_to(trainer, 3)
            cusim.reset()
            run_to(trainer, 4)
            columns.append(cusim.stats())
    with trainer._running():
        run_to(trainer, 14)
        cusim.reset()
        run_to(trainer, 24)
        columns.append(cusim.stats())
    columns.append(count_together(data))
    graph.FUSED_FLOP = 0
    columns.append(count_together(data))
    graph.FUSED_FLOP = usual
    # The graph's trainer goes on: reading loss and accuracy, and writing the next epoch's order.
    trainer.backend.synchronize()
    with trainer._running():
        cusim.reset()
        trainer.step.read(trainer.metrics)
        columns.append(cusim.stats())
        run_to(trainer, trainer.step.boundary)
        trainer.backend.synchronize()
        cusim.reset()
        trainer.step.refill()
        columns.append(cusim.stats())
    return [[name, *(f"{count(column):,}" for column in columns)] for name, count in COUNTS]


def count_together(data: Any) -> Any:
    """The counts of a step of 32 such networks, which do not depend on the batch."""
    import cusim

    import gpunet as gn
    from gpunet.training.graph import Graphs

    models = [gn.MLP([784, 50, 30, 10], seed=seed, backend="cuda") for seed in range(32)]
    trainers = [gn.Trainer(model, data, batch_size=10) for model in models]
    steps, graphs = [trainer.step for trainer in trainers], Graphs(trainers[0].backend)
    with trainers[0]._running():
        for step in steps:
            step.refill()
        graphs.launch(steps, 1)
        cusim.reset()
        graphs.launch(steps, 1)
        return cusim.stats()


# --- the document ----------------------------------------------------------------------------------------


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def counts_section() -> str:
    """The table of counts."""
    rows = count_steps()
    return table(
        [
            "784-50-30-10, batch 100, SGD",
            "eager",
            "cuBLAS graph",
            "graph",
            "graph of ten steps",
            "graph of 32 networks",
            "cuBLAS graph of 32 networks",
            "log step, on top",
            "new epoch, on top",
        ],
        rows,
    )


def kernels_section(jobs: list[dict[str, Any]], library: str) -> str:
    """The table of kernels.

    Raises:
        SystemExit: the compiler warns, or a kernel spills registers.
    """
    for job in jobs:
        job["library"] = library
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(compile_job, jobs))
    rows, wrong = [], []
    for job, outcome in zip(jobs, compiled, strict=True):
        results = outcome["results"]
        for at, result in results.items():
            wrong += [f"{job['label']}, {at}: {fault}" for fault in faults(result)]
        for name in results[CAPABILITIES[0]]["kernels"]:
            facts = [results[at]["kernels"][name] for at in CAPABILITIES]
            shared = max(fact["shared"] for fact in facts)
            row = [f"`{name}`", job["label"], f"{shared:,}", *(str(fact["registers"]) for fact in facts)]
            if row not in rows:
                rows.append(row)
    if wrong:
        raise SystemExit("\n".join(wrong))
    rows.sort()
    columns = ["kernel", "for", "shared memory", *CAPABILITIES]
    told = f"{len(rows)} kernels, compiled by NVRTC {compiled[0]['version']} without a warning and without a spill.\n\n"
    return told + table(columns, rows).replace("| --- | ---: |", "| --- | --- |", 1)


INTRODUCTION = """<!-- Written by scripts/kernel_report.py; do not edit. -->

# The CUDA kernels

## What a training step asks of the GPU

Counted on a simulated CUDA device while the default network trains. A graph replays a captured step, or several where
the host has nothing to do in between, with one launch; eager (`--graph off`) launches each kernel by itself. The
products of a network as small as this are gpunet's own, fused with all that is around them; those of a large one are
cuBLAS's, here counted with the same network. Networks of equal sizes share the launches of one. In an ordinary step
the host copies nothing, waits for nothing and allocates nothing. A log step reads the logits, targets and losses
of its batch, and the step at which a loss was not finite, if any. A new epoch brings permutations of the rows, here of
three.

"""

KERNELS = """
## Every kernel

Registers per thread for each compute capability, and bytes of static shared memory per block. The sources are in
`kernels/`; those whose names begin with `update_`, `activation_`, `bias_`, `add_` or `to_`, and `encode`, are written
around one expression. Those whose names end in `_of_many` are made of the kernels without, for networks that share
their launches; of those with an activation or a loss there is one here for all. Kernels that are made otherwise for
large arrays (more elements for each thread, or fewer threads for each row) are here as they are for small ones.

"""


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if docs/kernels.md is out of date")
    parser.add_argument("--counts", action="store_true", help="print the table of counts alone")
    parser.add_argument("--compile", metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compile:
        compile_file(arguments.compile)
        return 0
    if arguments.counts:
        print(counts_section())
        return 0
    library = find_nvrtc()
    if library is None:
        raise SystemExit('NVRTC is not installed; install it with pip install "gpunet[kernels]".')
    jobs = record()
    text = INTRODUCTION + counts_section() + "\n" + KERNELS + kernels_section(jobs, library) + "\n"
    if arguments.check:
        if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
            raise SystemExit("docs/kernels.md is out of date; run python scripts/kernel_report.py.")
        return 0
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
