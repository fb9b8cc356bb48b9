"""The kernels through NVIDIA's own compiler, and the document that lists them."""

from __future__ import annotations

import functools
import importlib.util
import pathlib
import re
from types import ModuleType

import pytest

import gpunet as gn
from gpunet.kernels import build, fused, launches

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kernel_report", ROOT / "scripts" / "kernel_report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def document() -> str:
    return (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")


FLOAT = {"REAL": "float", "ACC": "float"}
DOUBLE = {"REAL": "double", "ACC": "double"}


def network(types: dict[str, str], labels: dict[str, object], **others: object) -> dict[str, object]:
    """The `#define`s of a fused kernel."""
    return {**types, "IMAGE": "unsigned char", "ENCODED": 0, **labels, "STRUCTURES": fused.STRUCTURES, **others}


SQUARED = {"LOSS_VALUE(z, t)": "((z - t) * (z - t))", "LOSS_SLOPE(z, t)": "(2 * (z - t))", "SIGNED": 0, "MEAN": 1}
LABELS, SOFT = {"LABEL": "int", "SOFT": 0}, {"LABEL": "double", "SOFT": 1}
FUNCTIONS = fused.functions([gn.ACTIVATIONS["gelu-tanh"], gn.ACTIVATIONS["relu"]])
RULE = {"STATES": "ACC s0 = load(state);", "RULE": gn.Momentum(weight_decay=0.1).cuda, "KEEP": "store(state, s0);"}
SOURCES = [
    ("fused_first.cu", network(FLOAT, LABELS)),
    ("fused_first.cu", network(DOUBLE, SOFT, IMAGE="double", ENCODED=1)),
    ("elementwise_loss.cuh fused_head.cu", network(FLOAT, LABELS, **SQUARED, GROUP=4, FUNCTIONS=FUNCTIONS)),
    ("elementwise_loss.cuh fused_head.cu", network(DOUBLE, SOFT, **SQUARED, GROUP=256, FUNCTIONS=FUNCTIONS)),
    ("fused_gradients.cu", network(FLOAT, LABELS, **RULE, UPDATES=1)),
    ("fused_gradients.cu", network(DOUBLE, SOFT, **RULE, UPDATES=0)),
    ("times_derivative.cu", {**FLOAT, "SUM": "float", "DERIVATIVE": gn.ACTIVATIONS["tanh"].cuda_functions()}),
    ("times_derivative.cu", {**DOUBLE, "SUM": "double", "DERIVATIVE": gn.ACTIVATIONS["gelu"].cuda_functions()}),
    ("column_sum.cu", {**FLOAT, "SUM": "float"}),
    ("elementwise_loss.cuh loss.cu", {**FLOAT, **LABELS, **SQUARED, "GROUP": 1}),
    ("elementwise_loss.cuh loss.cu", {**DOUBLE, **SOFT, **SQUARED, "GROUP": 8}),
    ("gather.cu", {**FLOAT, "IMAGE": "unsigned char", "LABEL": "int", "WIDE": 1, "GROUP": 128}),
    ("gather.cu", {**FLOAT, "IMAGE": "unsigned char", "LABEL": "int", "WIDE": 4, "GROUP": 32}),
    ("gather.cu", {**DOUBLE, "IMAGE": "double", "LABEL": "double", "WIDE": 4, "GROUP": 128}),
    ("dropout.cu", DOUBLE),
    ("penalties.cu", FLOAT),
    ("softmax_cross_entropy.cuh loss.cu", {**FLOAT, **LABELS, "LABEL_SMOOTHING": 0.0, "GROUP": 4}),
    ("softmax_cross_entropy.cuh loss.cu", {**DOUBLE, **LABELS, "LABEL_SMOOTHING": 0.0, "GROUP": 2}),
    ("softmax_cross_entropy.cuh loss.cu", {**DOUBLE, **SOFT, "LABEL_SMOOTHING": 0.1, "GROUP": 256}),
]


@pytest.mark.parametrize(("files", "defines"), SOURCES, ids=[f"{at}-{files}" for at, (files, _) in enumerate(SOURCES)])
def test_kernels_compile_without_warnings_and_spills(report: ModuleType, files: str, defines: dict) -> None:
    library = report.find_nvrtc()
    if library is None:
        pytest.skip("NVIDIA's NVRTC is not installed (the extra gpunet[kernels])")
    head = "".join(f"#define {key} {value}\n" for key, value in defines.items())
    text = "\n".join(build.source(file) for file in files.split())
    names = re.findall(r"__global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(", text)
    sources = {"": text}
    if "fused" not in files:  # these have the networks in their grids by themselves
        sources["_of_many"] = functools.reduce(launches.source_of_many, names, text)
    ends = [report.CAPABILITIES[0], report.CAPABILITIES[-1]]  # the script itself takes every kernel through all of them
    for suffix, each in sources.items():
        job = {"source": head + each, "options": ["--std=c++14", "-ftz=true"], "capabilities": ends}
        outcome = report.compile_job({**job, "label": files, "library": library})
        assert list(outcome["results"]) == ends
        for result in outcome["results"].values():
            assert set(result["kernels"]) == {name + suffix for name in names}
            assert report.faults(result) == []


def test_warnings_and_spills_are_found(report: ModuleType) -> None:
    log = (
        "kernel.cu(3): warning #177-D: variable was declared but never referenced\n"
        "ptxas info    : Compiling entry function 'one' for 'sm_80'\n"
        "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
        "ptxas info    : Used 40 registers, used 1 barriers, 1024 bytes smem\n"
    )
    kernels = report.read_log(log)
    assert kernels == {"one": {"registers": 40, "shared": 1024, "spills": 4, "stack": 8}}
    faults = report.faults({"log": log, "kernels": kernels})
    assert len(faults) == 2


def test_the_table_of_counts_is_up_to_date(pooled: bool, report: ModuleType, document: str) -> None:
    pytest.importorskip("cusim", reason="a simulated CUDA device counts launches, copies and synchronisations")
    if not pooled:
        pytest.skip("CuPy's memory pool is switched off, so that each array is an allocation")
    for row in report.counts_section().splitlines():
        assert row in document


def test_every_kernel_is_in_the_document(document: str) -> None:
    for file in (ROOT / "kernels").glob("*.cu"):
        found = re.findall(r"__global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(", file.read_text(encoding="utf-8"))
        assert found, file
        for name in found:
            assert f"| `{name}` |" in document
    for name in gn.OPTIMIZERS:
        assert f"| `update_{name.replace('-', '_')}` |" in document
    for name in gn.ACTIVATIONS:
        assert f"| {name}, " in document
