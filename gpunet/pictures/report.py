"""A report of one run as a single HTML page: results, curves, confusions, mistakes, weights and every setting; of
several runs or a sweep, one that compares them.

The page holds everything it shows (SVG, PNG, CSS) and no script; a browser opens it without a network, in light or dark
as the reader's system is. Needs the extra `plot`.
"""

from __future__ import annotations

import html as html_module
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from gpunet.errors import DataError
from gpunet.pictures.curves import Curves
from gpunet.pictures.picture import Options, Subject, metric_name, metric_text
from gpunet.pictures.plots import PICTURES
from gpunet.pictures.style import PAGE_COLOURS, check_suffix, legible
from gpunet.pictures.sweeps import SweepPicture
from gpunet.runs.history import History
from gpunet.runs.listing import Listed, differing
from gpunet.runs.listing import table as listing_table
from gpunet.sweeps.sweep import Sweep
from gpunet.version import __version__

#: What the name of a report ends in.
FORMATS = (".html", ".htm")

#: The look of a report; in the dark, dark ink on paper turns around.
CSS = """
@media (prefers-color-scheme: dark) { img.ink { filter: invert(1); } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; } h2 { margin: 2.5rem 0 .7rem; font-size: 1.2rem; }
p { margin: .3rem 0; } .muted, figcaption, dt, th, caption { color: var(--muted); font-weight: normal; }
footer { margin-top: 3rem; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.numbers div { background: var(--card); border-radius: .5rem; padding: .6rem .9rem; display: flex;
  flex-direction: column-reverse; justify-content: flex-end; }
.numbers dd { margin: 0; font-weight: bold; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } .wide:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.curves { display: flex; flex-wrap: wrap; gap: 1rem; } .curves svg { flex: 1 1 20rem; min-width: 0; max-width: 29.5rem;
  height: auto; } .whole svg { display: block; width: 100%; min-width: 30rem; height: auto; }
svg text, svg use { fill: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: .9rem; padding-bottom: .3rem; }
td, th { padding: .2rem .6rem; text-align: right; } th[scope=row] { text-align: left; }
table.confusion td { min-width: 2.5rem; text-align: center; border: 1px solid var(--paper); }
table.confusion thead th { text-align: center; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.6rem, 1fr));
  gap: .8rem .6rem; margin-top: .7rem; }
.sheet.small { grid-template-columns: repeat(auto-fill, minmax(4.2rem, 1fr)); gap: .5rem; }
figure { margin: 0; } figcaption { font-size: .8rem; line-height: 1.25; text-align: center; overflow-wrap: anywhere; }
figure img { display: block; width: 100%; image-rendering: pixelated; border-radius: .25rem;
  border: 1px solid var(--edge); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0 0 1rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
code { font: .9em ui-monospace, monospace; background: var(--card); border-radius: .3rem; padding: .1rem .35rem;
  overflow-wrap: anywhere; }
@media (max-width: 30rem) { .facts { grid-template-columns: 1fr; } .facts dd { margin-bottom: .4rem; } }
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
    subject = Subject(history.name, [history], model, split, split_name)
    sections = [_section(name, heading, body) for name, heading, body in _pictures(subject)]
    body = "\n".join([_header(history, model, config, subject), *sections, *_settings(config)])
    return _page(f"{history.name}: {model.description}", body)


def comparison(histories: Sequence[History], runs: Sequence[Listed]) -> str:
    """The page of several runs: their curves, and a table of what they differ in and what came out.

    Args:
        histories: the records of each, named as the curves are to be.
        runs: the same runs as a list has them.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there are no records.
    """
    curves = Curves(histories)
    settings = [name.replace("_", " ") for name in differing(runs)]
    lead = f"They differ in {', '.join(settings)}." if settings else "Their settings are the same."
    table = _table("Runs, as they were given", *listing_table(runs))
    sections = [_section("runs", "Runs", table), _section(curves.name, curves.heading, curves.html())]
    return _compared(f"{len(runs)} runs", lead, sections)


def of_sweep(sweep: Sweep) -> str:
    """The page of a sweep: its scores against the settings that varied, and what all runs have in common.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: the sweep has no results.
    """
    picture = SweepPicture(sweep)
    apart = {*sweep.varying, "seed"}
    common = {name: value for name, value in sweep.trials[0].settings.to_dict().items() if name not in apart}
    lead, best = f"{len(sweep.results):,} runs on {sweep.trials[0].settings.data}. ", sweep.best()
    if not sweep.varying:
        lead += "Nothing but the seed varies."
    else:
        lead += "No settings came to the end." if best is None else f"Best on validation data: {best.named()}."
    sections = [
        _section(picture.name, picture.heading, picture.html()),
        _section("settings", "What all runs have in common", _values(common)),
    ]
    return _compared("A sweep", lead, sections)


def _compared(title: str, lead: str, sections: Iterable[str]) -> str:
    header = f'<header>\n<h1>{_text(title)}</h1>\n<p class="muted">{_text(lead)}</p>\n</header>'
    return _page(title, "\n".join([header, *sections]))


def _page(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{PAGE_COLOURS}{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f'<footer class="muted">Made by gpunet {__version__}.</footer>\n</body>\n</html>\n'
    )


def _pictures(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """Name, heading and piece of the page of every picture that there is of a run."""
    for kind in PICTURES.values():
        try:
            yield kind.name, kind.heading, kind.of(subject, Options()).html()
        except DataError:  # such as weights where the inputs are no pictures
            continue


def _section(name: str, heading: str, body: str) -> str:
    return f'<section aria-labelledby="{name}">\n<h2 id="{name}">{_text(heading)}</h2>\n{body}\n</section>'


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


def _header(history: History, model: Any, config: dict[str, Any], subject: Subject) -> str:
    data = config.get("data", {}).get("name")
    told = [f"{model.parameter_count:,} parameters"]
    told += [f"trained on {data}"] if data else []
    told += [f"with the loss {model.loss.name}"]
    told += _started(config.get("started"))
    cells = "\n".join(
        f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>" for label, value in _numbers(history, subject)
    )
    unfinished = "" if history.result else "<p>This run has not come to its end; these are its numbers so far.</p>\n"
    return (
        f"<header>\n<h1>{_text(history.name)}</h1>\n<p>{_text(model.description)}</p>\n"
        f'<p class="muted">{_text(", ".join(told))}</p>\n{unfinished}</header>\n<dl class="numbers">\n{cells}\n</dl>'
    )


def _numbers(history: History, subject: Subject) -> list[tuple[str, str]]:
    """What came out, and how long it took."""
    result, name = subject.evaluation, subject.split_name
    numbers = [(f"{name} {metric_name(key)}", metric_text(value)) for key, value in result.metrics.items()]
    numbers.append((f"{name} loss", metric_text(result.loss)))
    judge = next(iter(result.metrics), "loss")
    for other in ("train", "validation", "test"):
        value = history.final(f"{other}_{judge}")
        if value is not None and other != name:
            numbers.append((f"{other} {metric_name(judge)}", metric_text(value)))
    numbers.append(("iterations", f"{history.steps[-1]['iteration']:,}"))
    seconds, rate = history.final("train_seconds"), history.final("steps_per_second")
    numbers += [("training time", duration(seconds))] if seconds is not None else []
    numbers += [("steps per second", f"{rate:,.0f}")] if rate else []
    return numbers


def _started(text: Any) -> list[str]:
    """When a run began, in the zone of time that it was written in."""
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return []
    offset = when.utcoffset()
    zone = (
        "" if offset is None else " UTC" if not offset else f" UTC{when.strftime('%z')[:3]}:{when.strftime('%z')[3:]}"
    )
    return [f"started {when:%Y-%m-%d %H:%M}{zone}"]


def duration(seconds: float) -> str:
    """A time in the two units that matter: 1.9 s, 4 min 12 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in columns)
    body = "\n".join(
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{_text(caption)}"><table>\n'
        f"<caption>{_text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _settings(config: dict[str, Any]) -> list[str]:
    """The sections that say how the run was made, none of a model that came without a run."""
    settings = config.get("settings")
    if not settings:
        return []
    data = config.get("data", {})
    facts: list[tuple[str, Any]] = []
    if isinstance(config.get("command"), list):
        facts.append(("command", f"<code>{_text(shlex.join(map(str, config['command'])))}</code>"))
    facts += [(name, _text(config[name])) for name in ("device", "platform") if name in config]
    facts += [(name, _text(version)) for name, version in config.get("versions", {}).items()]
    facts += [("data's checksum", f"<code>{_text(data['checksum'])}</code>")] if "checksum" in data else []
    repeat = (
        '<p class="muted">The run is repeated by <code>gpunet train --config config.json</code> with the config.json '
        "of its folder.</p>"
    )
    return [
        _section("made", "How it was made", _pairs(facts)),
        _section("settings", "Settings", f"{_values(settings)}\n{repeat}"),
    ]


def _values(settings: Mapping[str, Any]) -> str:
    """The settings that have a value."""
    told = {name: value for name, value in settings.items() if value is not None}
    return _pairs((name.replace("_", " "), _text(_shown(value))) for name, value in told.items())


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return '<dl class="facts">' + "\n".join(f"<dt>{_text(name)}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
