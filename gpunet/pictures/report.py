"""A report of one run as a single HTML page: results, curves, confusions, mistakes, weights and every setting.

The page holds everything it shows (SVG, PNG, CSS) and no script; a browser opens it without a network, in light or dark
as the reader's system is. Needs the extra `plot`.
"""

from __future__ import annotations

import base64
import html as html_module
import io
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpunet.network.evaluation import Evaluation, evaluate
from gpunet.pictures.curves import curves
from gpunet.pictures.sheets import Tile, colours
from gpunet.pictures.style import BLACK, BLUE, COLOURS, EDGE, GREY, GRID, check_suffix, legible, style
from gpunet.pictures.tiles import neuron_name, weight_tiles, weights_title, worst_mistakes
from gpunet.runs.history import History
from gpunet.version import __version__

#: What the name of a report ends in.
FORMATS = (".html", ".htm")

_CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1a1a; --muted: #666666; --edge: #b0b0b0; --grid: #e4e4e4;
  --card: #f5f6f7; --blue: #0072b2; --vermilion: #d55e00; --right: 0, 114, 178; --wrong: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e8e8e8; --muted: #a0a4a8; --edge: #5a5e63;
  --grid: #33373b; --card: #202327; --blue: #56b4e9; --vermilion: #ff9248; --right: 86, 180, 233;
  --wrong: 255, 130, 50; }
  img.ink { filter: invert(1); } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .7rem; font-size: 1.2rem; }
p { margin: .3rem 0; } .muted, figcaption, dt, th { color: var(--muted); font-weight: normal; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.numbers div { background: var(--card); border-radius: .5rem; padding: .6rem .9rem; }
.numbers b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } svg.curves { display: block; width: 100%; min-width: 40rem; height: auto; }
svg text, svg.curves use { fill: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .6rem; text-align: right; } th[scope=row], td.text { text-align: left; }
table.confusion td { min-width: 2.5rem; text-align: center; border: 1px solid var(--paper); }
table.confusion thead th { text-align: center; }
tr.line td, tr.line th { border-top: 1px solid var(--grid); }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.6rem, 1fr)); gap: .8rem .6rem; }
.sheet.small { grid-template-columns: repeat(auto-fill, minmax(4.2rem, 1fr)); gap: .5rem; }
figure { margin: 0; } figcaption { font-size: .8rem; line-height: 1.25; text-align: center; }
figure img { display: block; width: 100%; image-rendering: pixelated; border-radius: .25rem;
  border: 1px solid var(--edge); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: .9em ui-monospace, monospace; background: var(--card); border-radius: .3rem; padding: .1rem .35rem; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
@media print { body { max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def html(
    history: History, model: Any, split: Any, *, split_name: str = "test", config: dict[str, Any] | None = None
) -> str:
    """The page.

    Args:
        history: the run's records.
        model: the trained model.
        split: images and labels to evaluate it on.
        split_name: what the split is called in the page.
        config: the run's config.json; what it says goes into the page.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    config = config or {}
    result = evaluate(model, split)
    names = model.class_names or [str(index) for index in range(len(result.confusion))]
    title = f"{history.name}: {model.description}"
    sections = [
        _header(history, model, config, result, split_name),
        "<h2>Curves</h2>\n" + _curves(history),
        f"<h2>What is taken for what</h2>\n{_confusion(result, names, split_name)}",
        _mistakes(model, split, split_name),
        _weights(model),
        _settings(config),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n{body}\n"
        f'<p class="muted" style="margin-top:3rem">Made by gpunet {__version__}.</p>\n</body>\n</html>\n'
    )


def save(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page as .html or .htm; never half of it.

    Raises:
        UsageError: the name ends in something else.
    """
    from gpunet.files import write_atomic

    check_format(path)
    write_atomic(path, page.encode())


def check_format(path: str | os.PathLike[str]) -> str:
    """The suffix of a page's name, in lower case.

    Raises:
        UsageError: it is none of `FORMATS`.
    """
    return check_suffix(path, FORMATS, "a report")


def _text(value: Any) -> str:
    return html_module.escape(legible(str(value)))


def _header(history: History, model: Any, config: dict[str, Any], result: Evaluation, split_name: str) -> str:
    data = config.get("data", {}).get("name")
    told = [f"{model.parameter_count:,} parameters"]
    told += [f"trained on {data}"] if data else []
    told += [f"with the loss {model.loss.name}"]
    told += [f"started {config['started'][:16].replace('T', ' ')}"] if isinstance(config.get("started"), str) else []
    numbers = [(f"{split_name} accuracy", f"{result.accuracy:.4f}"), (f"{split_name} loss", f"{result.loss:.4f}")]
    for name in ("train", "validation", "test"):
        value = history.final(f"{name}_accuracy")
        if value is not None and name != split_name:
            numbers.append((f"{name} accuracy", f"{value:.4f}"))
    numbers.append(("iterations", f"{history.steps[-1]['iteration']:,}"))
    rate = history.final("steps_per_second")
    numbers += [("steps per second", f"{rate:,.0f}")] if rate else []
    cells = "\n".join(f"<div><b>{_text(value)}</b>{_text(label)}</div>" for label, value in numbers)
    unfinished = "" if history.result else "<p>This run has not come to its end; these are its numbers so far.</p>\n"
    return (
        f"<h1>{_text(history.name)}</h1>\n<p>{_text(model.description)}</p>\n"
        f'<p class="muted">{_text(", ".join(told))}</p>\n{unfinished}<div class="numbers">\n{cells}\n</div>'
    )


def _curves(history: History) -> str:
    """The curves as SVG whose colours are the page's, so that they are right in the dark too."""
    stream = io.StringIO()
    figure = curves(history)
    with style():
        figure.patch.set_alpha(0)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, facecolor="none")
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg[^>]*viewBox="([^"]*)"[^>]*>', r'<svg class="curves" viewBox="\1" role="img">', text, count=1)
    text = re.sub(r"\n +", "\n", text)
    for colour, variable in (
        (BLUE, "blue"),
        (COLOURS[1], "vermilion"),
        (GREY, "muted"),
        (GRID, "grid"),
        (EDGE, "edge"),
    ):
        text = text.replace(colour.lower(), f"var(--{variable})")
    text = text.replace(BLACK.lower(), "var(--ink)")
    label = "<title>Loss and accuracy over the iterations</title>"
    return f'<div class="wide">{text.replace(">", f">{label}", 1)}</div>'


def _confusion(result: Evaluation, names: Sequence[str], split_name: str) -> str:
    matrix = result.confusion
    if len(matrix) > 40:
        return f"<p>{len(matrix)} classes are too many for a table.</p>"
    totals = np.maximum(matrix.sum(axis=1), 1)
    top = max(float((matrix / totals[:, None] - np.eye(len(matrix))).max()), 0.1)
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
    measures = "".join(f'<th scope="col">{name}</th>' for name in ("precision", "recall", "F1", "examples"))
    rows = []
    for row, one in enumerate(result.per_class()):
        cells = []
        for column, count in enumerate(matrix[row].tolist()):
            share = count / totals[row]
            if row == column:
                look = ' style="background: rgba(var(--right), .18)"'
            else:
                look = f' style="background: rgba(var(--wrong), {share / top * 0.75:.3f})"' if count else ""
            cells.append(f"<td{look}>{f'{count:,}' if count else ''}</td>")
        facts = "".join(f"<td>{one[name]:.3f}</td>" for name in ("precision", "recall", "f1"))
        rows.append(
            f'<tr><th scope="row">{_text(names[row])}</th>{"".join(cells)}{facts}<td>{one["support"]:,}</td></tr>'
        )
    return (
        f'<p class="muted">A row is a true class of the {_text(split_name)} examples, a column the answer.</p>\n'
        f'<div class="wide"><table class="confusion"><thead><tr><td></td>{head}{measures}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _mistakes(model: Any, split: Any, split_name: str) -> str:
    found = worst_mistakes(model, split, 32)
    if not found:
        return f"<h2>Mistakes</h2>\n<p>Every {_text(split_name)} example is answered right.</p>"
    figures = []
    for one in found:
        certain = "" if one.probability is None else f"<br>{one.probability:.0%} sure"
        words = f"{_text(one.truth)}, read as {_text(one.answer)}"
        figures.append(
            _figure(Tile(one.picture, ""), f"{words}{certain}", words, "ink" if one.picture.ndim == 2 else "")
        )
    return f'<h2>Mistakes, the most certain first</h2>\n<div class="sheet">\n{_lines(figures)}\n</div>'


def _weights(model: Any) -> str:
    tiles, numbers, limit = weight_tiles(model, 64)
    figures = [
        _figure(
            Tile(tile / limit, "", signed=True),
            _text(neuron_name(model, number)),
            f"weights into neuron {_text(neuron_name(model, number))}",
        )
        for tile, number in zip(tiles, numbers, strict=True)
    ]
    longest = ", those with the longest weight vectors" if len(tiles) < model.sizes[1] else ""
    return (
        "<h2>What the first layer looks for</h2>\n"
        f'<p class="muted">{weights_title(model, len(tiles))}{longest}: vermilion for it, blue against it, on one '
        f'scale to {limit:.2g}.</p>\n<div class="sheet small">\n{_lines(figures)}\n</div>'
    )


def _figure(tile: Tile, caption: str, alt: str, kind: str = "") -> str:
    """A small picture as PNG inside the page; `caption` is HTML."""
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, colours(tile, paper=True), format="png")
    data = base64.b64encode(stream.getvalue()).decode()
    look = f' class="{kind}"' if kind else ""
    picture = f'<img{look} alt="{alt}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _settings(config: dict[str, Any]) -> str:
    settings = config.get("settings")
    if not settings:
        return ""
    data = config.get("data", {})
    facts: list[tuple[str, Any]] = []
    if isinstance(config.get("command"), list):
        facts.append(("command", f"<code>{_text(' '.join(map(str, config['command'])))}</code>"))
    facts += [(name, _text(config[name])) for name in ("device", "platform") if name in config]
    facts += [(name, _text(version)) for name, version in config.get("versions", {}).items()]
    facts += [("data's checksum", f"<code>{_text(data['checksum'])}</code>")] if "checksum" in data else []
    rows = [(name.replace("_", " "), _text(_shown(value))) for name, value in settings.items() if value is not None]
    return (
        f"<h2>How it was made</h2>\n{_pairs(facts)}\n<h2>Settings</h2>\n{_pairs(rows)}\n"
        '<p class="muted" style="margin-top:1rem">The run is repeated by <code>gpunet train --config config.json</code>'
        " with the config.json of its folder.</p>"
    )


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "\n".join(f"<dt>{_text(name)}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
