"""Writes docs/reference.md, the public interface of the package, from its docstrings and its tables.

    python scripts/make_reference.py           write it
    python scripts/make_reference.py --check   exit with 1 if it is not up to date

A test calls `reference()` too, so a changed docstring or a new entry of a table that is not in the page fails there.
"""

from __future__ import annotations

import html
import inspect
import operator
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpunet as gn
from gpunet.registry import Registry

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"

INTRODUCTION = """\
# Python reference

<!-- Written by scripts/make_reference.py; change the docstrings, not this page. -->

Everything here is in the package `gpunet`, which the examples import as `gn`. Shapes are written as tuples: `n`
examples, `features` numbers each. The command line's reference is [another page](cli.md).
"""

TABLES = """\
Each of these tables is a mapping from names to entries, and what is in it is what the command line offers.
`gn.OPTIMIZERS["adam"]` is the entry, here a class. `gn.OPTIMIZERS.make("adam:beta1=0.8", learning_rate=0.01)` is an
object made of it, and so is `gn.SCHEDULES.make("cosine", initial=0.1, warmup=100)`.
`gn.OPTIMIZERS.register(MyOptimizer)` adds one of your own; `register` also decorates a class.
"""

#: What is described, under which heading.
SECTIONS: dict[str, list[str]] = {
    "Devices": ["get_backend", "Backend"],
    "Data": ["load_dataset", "Dataset", "Split"],
    "Model": ["MLP", "Ensemble", "load_model", "Activation", "activation", "check_activation"],
    "Training": [
        "train", "training_steps", "train_together", "steps_together", "cross_validate", "CrossValidation",
        "train_ensemble", "EnsembleTraining",
        "Trainer", "Recipe", "Callback", "ProgressBar", "TrainingResult", "StepRecord",
        "ResultRecord", "find_learning_rate",
    ],
    "Evaluation": ["evaluate", "Evaluation", "loss_and_gradients", "metrics.Metric", "metrics.Answers"],
    "Losses": ["losses.Loss", "softmax_cross_entropy", "check_loss"],
    "Optimizers, schedules, initial weights": [
        "optimizers.Optimizer", *(f"optimizers.{entry.__name__}" for entry in gn.OPTIMIZERS.values()),
        "schedules.Schedule", *(f"schedules.{entry.__name__}" for entry in gn.SCHEDULES.values()),
        "initializers.Initializer", *(f"initializers.{entry.__name__}" for entry in gn.INITIALIZERS.values()),
    ],
    "Pictures": ["plot_history", "plot_confusion", "show", "export_page"],
    "Sweeps": ["sweep", "Sweep"],
    "Runs, checkpoints and logs": [
        "Settings", "settings_for", "RunFolder", "Recorder", "save_checkpoint", "load_checkpoint", "CsvLog",
        "JsonLinesLog", "TensorBoardLog",
    ],
}  # fmt: skip
#: Modules that are imported by name, and what of them is described.
MODULES: dict[str, list[str]] = {
    "plots": ["curves", "confusion", "weights", "mistakes", "examples", "save"],
    "history": ["History"],
    "report": ["html", "comparison", "of_sweep", "save"],
    "export": ["export", "to_onnx", "to_arrays"],
}
#: Characters of a signature on one line, at most.
WIDTH = 70
#: Members that everyone knows, or that are for the package itself.
HIDDEN = {"as_dict", "take_up"}


def reference() -> str:
    """The page."""
    return "\n".join(_parts()).rstrip() + "\n"


def _parts() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Names\n"
    yield TABLES
    yield from table("Activations", "ACTIVATIONS", "`--activation`", gn.ACTIVATIONS)
    yield from table(
        "Losses", "LOSSES", "`--loss`; z is an output, t its target; the classes are in `gn.losses`", gn.LOSSES
    )
    yield from table(
        "Optimizers",
        "OPTIMIZERS",
        "`--optimizer`; p is a parameter, g its gradient; the classes are in `gn.optimizers`",
        gn.OPTIMIZERS,
    )
    yield from table(
        "Schedules",
        "SCHEDULES",
        "`--schedule`; t is the step, T their number; the classes are in `gn.schedules`",
        gn.SCHEDULES,
    )
    yield from table(
        "Initial weights", "INITIALIZERS", "`--init`; the classes are in `gn.initializers`", gn.INITIALIZERS
    )
    yield from table("Metrics", "METRICS", "`--metrics` and `--metric`; t is a target, y its answer", gn.METRICS)
    yield "\n### Data sets\n\n`gn.DATASETS`, on the command line `--data`.\n"
    yield "| name | what it is | training, validation, test | classes | licence |\n|---|---|---|---|---|"
    for name, entry in gn.DATASETS.items():
        sizes = f"{entry.train:,}, {entry.validation:,}, {entry.test:,}"
        yield f"| `{name}` | {cell(entry.summary)} | {sizes} | {entry.classes} | {cell(entry.licence)} |"
    for title, names in SECTIONS.items():
        yield f"\n## {title}\n"
        for name in names:
            yield from described(operator.attrgetter(name)(gn), f"gn.{name}", 3)
    for title, names in MODULES.items():
        module = getattr(gn, title)
        yield f"\n## gn.{title}\n"
        yield first_paragraph(module)
        for name in names:
            yield from described(getattr(module, name), f"gn.{title}.{name}", 3)
    yield "\n## Errors\n"
    yield "| error | base | |\n|---|---|---|"
    for value in vars(gn.errors).values():
        if inspect.isclass(value) and issubclass(value, gn.GpunetError):
            base = value.__mro__[1].__name__
            yield f"| `{value.__name__}` | `{base}` | {cell(first_paragraph(value))} |"


def table(title: str, variable: str, where: str, entries: Registry[Any, Any]) -> Iterator[str]:
    """A table of names with formula, hyperparameters and source."""
    yield f"\n### {title}\n\n`gn.{variable}`, on the command line {where}.\n"
    columns = ["name", "formula"]
    columns += ["class and parameters"] if any(inspect.isclass(entry) for entry in entries.values()) else []
    columns += ["source"] if any(getattr(entry, "source", "") for entry in entries.values()) else []
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for name, entry in entries.items():
        cells = [f"`{name}`", code(entry.formula)]
        if "class and parameters" in columns:
            options = ", ".join(f"{key}={value.default}" for key, value in entries.parameters(name).items())
            rate = getattr(entry, "default_learning_rate", None)
            first = (
                "initial"
                if issubclass(entry, gn.schedules.Schedule)
                else f"learning_rate={rate}"
                if rate is not None
                else ""
            )
            options = ", ".join(filter(None, [first, options]))
            cells.append(f"`{entry.__name__}({options})`")
        if "source" in columns:
            cells.append(cell(entry.source))
        yield f"| {' | '.join(cells)} |"


def described(value: Any, name: str, level: int) -> Iterator[str]:
    """A function or a class with its own public members, as Markdown."""
    yield f"\n{'#' * level} {name.rpartition('.')[2] if level > 3 else name}\n"
    yield f"```python\n{name.removeprefix('gn.') if level > 3 else name}{signature(value)}\n```\n"
    yield markdown(inspect.getdoc(value) or "")
    if not inspect.isclass(value):
        return
    for member, held in vars(value).items():
        if member.startswith("_") or member in HIDDEN:
            continue
        if isinstance(held, property):
            yield f"\n`{member}`: {first_paragraph(held)}"
        elif isinstance(held, (classmethod, staticmethod)) or inspect.isfunction(held):
            function = getattr(value, member)
            if not inspect.getdoc(function) or inspect.getdoc(function) == inspect.getdoc(inherited(value, member)):
                continue
            yield f"\n```python\n{value.__name__}.{member}{signature(function)}\n```\n"
            yield markdown(inspect.getdoc(function) or "")


def inherited(value: type, member: str) -> Any:
    """What a class has from its bases under the name of a member."""
    return getattr(super(value, value), member, None)


class Annotation:
    """A type as it is written, which `inspect` would put between quotes."""

    def __init__(self, text: Any) -> None:
        self.text = text if isinstance(text, str) else inspect.formatannotation(text)

    def __repr__(self) -> str:
        return self.text


def signature(value: Any) -> str:
    """The signature with its types, each argument on a line of its own where it is long, and without what the
    interpreter's version changes."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    empty = inspect.Parameter.empty
    typed = [
        each if each.annotation is empty else each.replace(annotation=Annotation(each.annotation))
        for each in found.parameters.values()
        if each.name != "self"
    ]
    result = "" if found.return_annotation is found.empty or inspect.isclass(value) else found.return_annotation
    end = f" -> {Annotation(result)}" if result != "" else ""
    text = str(found.replace(parameters=typed, return_annotation=found.empty))
    if len(text + end) > WIDTH:
        parts: list[str] = []
        for before, each in zip([None, *typed], typed, strict=False):
            if each.kind is each.KEYWORD_ONLY and (before is None or before.kind < each.VAR_POSITIONAL):
                parts.append("*")
            parts.append(str(each))
        text = "(\n" + "".join(f"    {part},\n" for part in parts) + ")"
    return re.sub(r"<[^<>]*? at 0x[0-9a-f]+>|<factory>", "...", text + end)


def markdown(docstring: str) -> str:
    """A docstring in Google's style as Markdown: its sections become lists."""
    lines: list[str] = []
    section = False
    for line in docstring.splitlines():
        heading = re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields):", line)
        if heading:
            section = True
            lines += [f"*{ {'Args': 'Arguments'}.get(heading[1], heading[1]) }*", ""]
        elif section and line.startswith("    "):
            entry = re.match(r"    ([\w, ]+): (.*)", line)
            if entry:
                names = ", ".join(f"`{name.strip()}`" for name in entry[1].split(","))
                lines.append(f"- {names}: {entry[2]}")
            elif line.startswith("     ") or lines[-1]:
                lines.append(f"  {line.strip()}" if lines[-1].startswith(("- ", "  ")) else line.strip())
            else:
                lines.append(line.strip())
        else:
            section = section and not line.strip()
            lines.append(f"- {line.strip()}" if line.startswith(".") else line.rstrip())
    return "\n".join(lines)


def first_paragraph(value: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def code(text: str) -> str:
    """Code for a cell of a table. A bar in it must be written so that every Markdown reader takes it for one."""
    return f"`{text}`" if "|" not in text else f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    page = reference()
    if "--check" not in arguments:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/reference.md is not up to date; run: python scripts/make_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
