"""`gpunet devices`: which devices there are, what they are, and whether they work; and if not, what helps."""

from __future__ import annotations

import typer

from gpunet.devices import DeviceReport


def command(json: bool = typer.Option(False, "--json", help="One line of JSON per device, for programs.")) -> None:
    """Say which devices there are and whether they work.

    Test work is done on each: a matrix product on the CPU; on a CUDA device a kernel is compiled, cuBLAS is
    called and a CUDA graph is replayed. Where something is missing or does not fit, the answer says what helps.

    \b
    Examples:
      gpunet devices
      gpunet devices --json
    """
    from gpunet.devices import list_devices

    reports = list_devices()
    if json:
        import json as json_module

        for report in reports:
            typer.echo(json_module.dumps(report.as_dict()))
        return
    from gpunet.cli import display

    display.pairs([row for report in reports for row in _rows(report)])
    best = next((report.device for report in reports if report.works and report.device != "cpu"), "cpu")
    display.line()
    display.line(f"--device auto takes {best if best in ('cpu', 'cuda:0') else 'cpu'}")


def _rows(report: DeviceReport) -> list[tuple[str, str]]:
    """Label and text of the lines about one device."""
    from gpunet.wording import readable

    facts = report.facts
    lines = []
    if report.device == "cpu":
        lines.append(f"{facts['name']}, {_count(facts['cores'], 'core')}")
        blas = ""
        if "blas" in facts:
            blas = f" with {facts['blas']} {facts['blas_version']}, {_count(facts['blas_threads'], 'thread')}"
        lines.append(f"NumPy {facts['numpy']}{blas}")
    elif "name" in facts:
        memory = f"{readable(facts['memory'])} of memory"
        if "memory_free" in facts:
            memory += f" ({readable(facts['memory_free'])} free)"
        lines.append(
            f"{facts['name']}, compute capability {facts['compute_capability']}, "
            f"{_count(facts['multiprocessors'], 'multiprocessor')}, {memory}"
        )
    if "cupy" in facts:
        wheels = f" ({', '.join(facts['wheels'])})" if "wheels" in facts else ""
        driver = f"driver for CUDA {facts['driver_cuda']}" if facts.get("driver_cuda") else "no driver"
        built = f", wheel for CUDA {facts['wheel_cuda']}" if facts.get("wheel_cuda") else ""
        lines.append(f"{driver}, CuPy {facts['cupy']}{wheels}{built}")
    lines.append("works" if report.works else f"does not work: {report.fault}")
    lines += [f"note: {note}" for note in report.notes]
    return [(report.device if index == 0 else "", line) for index, line in enumerate(lines)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
