"""`gpunet sweep`: a grid of settings from the command line, its results as they come, and the choice."""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from typing import Any, Optional

import typer

from gpunet import readers
from gpunet.backend import get_backend
from gpunet.cli import display
from gpunet.cli.errors import Interrupted
from gpunet.cli.options import choices, number_option, setting_options, text_option
from gpunet.data.folders import read_once
from gpunet.errors import UsageError
from gpunet.files import check_place
from gpunet.runs.settings import Settings, read_file
from gpunet.sweeps import grids
from gpunet.sweeps.clusters import CLUSTERS, cluster_of
from gpunet.sweeps.search import PRUNERS
from gpunet.sweeps.sweep import SEARCHES, Sweep
from gpunet.sweeps.trials import Result, Row
from gpunet.wording import duration, figure, typed


class Board:
    """The results on the screen: on a terminal a live table of all settings, in a pipe a line per result."""

    def __init__(self, sweep: Sweep, quiet: bool, json: bool) -> None:
        self._sweep = sweep
        self._quiet, self._json = quiet, json
        self._began = time.perf_counter()
        self._before = sweep.total - sweep.left
        self._live: Any = None

    def __enter__(self) -> Board:
        if not self._quiet and display.can_redraw(sys.stderr):
            from rich.live import Live

            # What is written meanwhile stands above the table, if it goes to the same terminal.
            self._live = Live(
                self._draw(),
                console=display.console(stderr=True),
                transient=True,
                refresh_per_second=1,
                redirect_stdout=display.is_terminal(sys.stdout),
            )
            self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._live is not None:
            self._live.stop()

    def add(self, result: Result) -> None:
        """Show a result."""
        if self._json:
            print(json_module.dumps({"event": "trial", **result.as_dict()}), flush=True)
        elif not self._quiet and self._live is None:
            print(self._line(result), flush=True)
        if self._live is not None:
            self._live.update(self._draw())

    def _line(self, result: Result) -> str:
        total = self._sweep.total
        count = f"{self._sweep.total - self._sweep.left:>{len(str(total))}}/{total}"
        pairs = [*result.varied.items(), ("seed", result.seed)]
        told = "  ".join(f"{name} {value}" for name, value in pairs).replace("_", " ")
        if result.error is not None:
            return f"{count}  {told}  failed: {result.error}"
        if result.pruned:
            score = result.value(self._sweep.judged)
            at = "" if score is None else f" at validation {figure(score)}"
            return f"{count}  {told}  stopped after {result.iterations:,} iterations{at}"
        name = self._sweep.judged.removeprefix("validation_")
        scores = [(split, result.value(f"{split}_{name}")) for split in ("train", "validation")]
        shown = "  ".join(f"{split} {figure(score)}" for split, score in scores if score is not None)
        return f"{count}  {told}  {shown}  {result.train_seconds:.1f} s"

    def _draw(self) -> Any:
        rows = self._sweep.rows()
        console = display.console(stderr=True)
        room = max(3, console.height - 5)
        if len(rows) > room:  # the best of those that are there, and nothing to scroll
            rows = sorted(rows, key=self._sweep.merit, reverse=True)[:room]
        total = self._sweep.total
        done = total - self._sweep.left
        text = f"{done} of {total} runs"
        if done > self._before:
            left = (time.perf_counter() - self._began) / (done - self._before) * (total - done)
            text += f", {duration(left)} left"
        return display.drawn_table(*cells(self._sweep, rows, console.width), text, console.width)


def cells(sweep: Sweep, rows: list[Row], width: int, chosen: Row | None = None) -> tuple[list[str], list[list[str]]]:
    """The table of rows, with as many columns as fit into `width`; runs that failed do not count among the runs."""
    several = len(sweep.seeds) > 1
    judged = sweep.judged.removeprefix("validation_")
    names = [("train", f"train_{judged}"), ("validation", sweep.judged)]
    if sweep.tests:
        names.append(("test", sweep.tested))

    def make(spreads: bool, seconds: bool) -> tuple[list[str], list[list[str]]]:
        columns = [name.replace("_", " ") for name in sweep.varying] or ["settings"]
        columns += ["runs"] if several else []
        columns += [label for label, _ in names] + (["seconds"] if seconds else [])
        table = []
        for row in rows:
            line = [row.varied[name] for name in sweep.varying] or ["as given"]
            line += [f"{len(row.results) - len(row.errors)}/{len(row.trials)}"] if several else []
            for _, name in names:
                spread = row.spread(name)
                text = "" if spread is None else str(spread) if spreads else f"{spread.mean:.4f}"
                line.append(text or ("failed" if row.errors else "stopped" if row.pruned else ""))
            if seconds:
                spent = row.spread("train_seconds")
                line.append("" if spent is None else f"{spent.mean:.1f}")
            if chosen is not None:
                line[0] = ("* " if row.varied == chosen.varied else "  ") + line[0]
            table.append(line)
        if chosen is not None:
            columns[0] = f"  {columns[0]}"
        return columns, table

    for spreads, seconds in ((True, True), (True, False), (False, False)):
        columns, table = make(spreads, seconds)
        if display.table_width(columns, table) <= width:
            return columns, table
    return make(True, True)  # too wide in any case: it will be drawn row by row, where there is room


@setting_options
def command(
    given: dict[str, str],
    seeds: int = number_option("--seeds", least=1, default=1, help="Run everything with N seeds, from --seed on."),
    random: Optional[int] = number_option("--random", least=1, help="The same as --search random --trials N."),
    search: Optional[str] = text_option(
        "--search",
        metavar="HOW",
        help="grid for all combinations; random or optuna for --trials of them, where a range such as 0.001..1 is a "
        "value too: drawn at random, or asked for by Optuna, by what came of those before. [default: grid]",
        completion=choices(*SEARCHES),
    ),
    trials: Optional[int] = number_option(
        "--trials", least=1, help="How many combinations to try, with --search random or optuna."
    ),
    pruner: Optional[str] = text_option(
        "--pruner",
        metavar="NAME",
        help=f"What stops a run of Optuna that falls behind: {', '.join(PRUNERS)}. [default: median]",
        completion=choices(*PRUNERS),
    ),
    jobs: Optional[int] = number_option(
        "--jobs",
        "-j",
        least=1,
        help="Runs at a time, each in a process of its own. [default: one for each CPU; see --together for CUDA]",
    ),
    together: str = typer.Option(
        "auto",
        "--together",
        metavar="N",
        help="Networks that one process trains side by side, on CUDA in common launches; auto for as many as the "
        "CUDA device takes, and off on the CPU.",
    ),
    backend: str = typer.Option(
        "loky",
        "--backend",
        metavar="NAME",
        help="What takes the work: loky for processes of this machine; dask or ray for a cluster, which is started on "
        "this machine unless an address names one that runs: dask:tcp://host:8786, ray:auto; or another backend of "
        "joblib.",
        autocompletion=choices("loky", *CLUSTERS),
    ),
    out: Optional[str] = text_option(
        "--out", metavar="DIR", help="Keep results and models here; the same command goes on where it was stopped."
    ),
    report_test: bool = typer.Option(
        False,
        "--report-test",
        help="Once the choice is made, show the test score of all settings and not of it alone.",
    ),
    csv: Optional[str] = text_option("--csv", metavar="FILE", help="Write a table with one line per run."),
    plot: Optional[str] = text_option(
        "--plot",
        metavar="FILE",
        help="Draw the score against the first option that varies: .png, .svg, .pdf, or a page (.html).",
    ),
    config: Optional[str] = text_option(
        "--config", metavar="FILE", help="Take settings from a TOML or JSON file first."
    ),
    json: bool = typer.Option(False, "--json", help="Write JSON lines to standard output and nothing else."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Write only the table at the end."),
) -> None:
    """Train over several values of any option of gpunet train, and choose by the score on the validation split.

    Values stand between commas: --activation relu,tanh. Where a value has commas itself, they stand between
    semicolons, in quotes: --hidden "10;50;50,30"; a semicolon at the end makes a single value. All
    combinations are run. Data without validation examples has a tenth of its training examples held out. The
    test set is looked at after the choice is made, and for the chosen settings only.

    \b
    Examples:
      gpunet sweep --hidden "10;50;50,30;200,100" --activation relu,tanh,sigmoid
      gpunet sweep --lr 0.01,0.03,0.1,0.3 --seeds 3 --out sweeps/lr --plot lr.png
      gpunet sweep --lr 0.001..1 --dropout 0,0.2,0.5 --random 20 --epochs 5
      gpunet sweep --lr 0.001..1 --hidden "50;100;200,100" --search optuna --trials 30 --out sweeps/search
      gpunet sweep --optimizer "sgd;momentum;adam:beta1=0.8,beta2=0.99" --seeds 3 --json
    """
    if plot is not None:
        from gpunet.pictures.report import FORMATS
        from gpunet.pictures.style import check_format, style

        if not plot.lower().endswith(FORMATS):
            check_format(plot)
        check_place(plot)
        with style():  # a missing matplotlib is said before the work and not after it
            pass
    if csv is not None:
        check_place(csv, in_place=True)
    base = read_file(config) if config else {}
    grid = {name: grids.parse(name, text) for name, text in given.items()}
    with display.DownloadBar(quiet=quiet) as progress, read_once():
        base, grid, which = _split(base, grid, seeds)
        searched = _search(search, trials, pruner, random)
        try:
            sweep = Sweep(base, grid, seeds=which, out=out, progress=progress, **searched)
        except UsageError:
            Settings.from_dict(base, source=config)  # its own mistakes are reported as the file's
            raise
    side_by_side = _together(sweep, together, jobs, backend)
    jobs, remark = (1, f"{side_by_side} side by side") if side_by_side > 1 else _jobs(sweep, jobs, backend)
    if not json and not quiet:
        display.pairs(_header(sweep, jobs, backend, remark))
        display.line()
    try:
        with Board(sweep, quiet, json) as board:
            for result in sweep.run(jobs, backend, side_by_side):
                board.add(result)
    except KeyboardInterrupt as error:
        told = [f"Stopped after {sweep.total - sweep.left} of {sweep.total} runs."]
        told.append(
            f"The same command goes on from there; its results are in {out}"
            if out
            else "Nothing was kept; with --out FOLDER the same command would go on from here."
        )
        raise Interrupted("\n".join(told), error) from None
    chosen = sweep.choose()
    tested = sweep.measure([chosen])
    if report_test:
        sweep.measure(sweep.rows())
    _conclude(sweep, chosen, bool(tested), json)
    for path, write in ((csv, _write_csv), (plot, _draw)):
        if path is not None:
            write(sweep, path)
    if out is not None:
        _write_csv(sweep, os.path.join(out, "results.csv"))


def _split(base: dict[str, Any], grid: dict[str, Any], seeds: int) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """The common settings, the grid and the seeds; several values of --seed are the seeds."""
    given = grid.pop("seed", None)
    if given is None:
        return base, grid, seeds
    if isinstance(given, grids.Range):
        raise UsageError(f"--seed {given}: list the seeds like 1,2,3, or say how many with --seeds.")
    if len(given) == 1:
        return {**base, "seed": given[0]}, grid, seeds
    if seeds != 1:
        raise UsageError("--seed and --seeds both say which seeds to take; give one of them.")
    return base, grid, given


def _search(search: str | None, trials: int | None, pruner: str | None, random: int | None) -> dict[str, Any]:
    """The options of `Sweep` that say how combinations are chosen."""
    if random is not None:
        for option, value in (("--search", search), ("--trials", trials), ("--pruner", pruner)):
            if value is not None:
                raise UsageError(f"--random is --search random with so many trials; leave out {option}.")
        return {"search": "random", "trials": random}
    if search not in (None, *SEARCHES):
        raise UsageError(f"--search {search}: unknown way to search; choose one of {', '.join(SEARCHES)}.")
    if search != "optuna" and pruner is not None:
        raise UsageError(f"--pruner {pruner}: it stops runs of Optuna; say --search optuna, or leave it out.")
    if search in (None, "grid") and trials is not None:
        raise UsageError(f"--trials {trials}: a grid is tried as a whole; say --search random or --search optuna.")
    if search in ("random", "optuna") and trials is None:
        raise UsageError(f"--search {search}: say how many combinations to try with --trials.")
    return {"search": search or "grid", "trials": trials, "pruner": pruner or "median"}


def _together(sweep: Sweep, given: str, jobs: int | None, backend: str) -> int:
    """How many networks are trained side by side in this process."""
    if given == "off" or (given == "auto" and (jobs is not None or backend != "loky")):
        return 1
    count = sweep.room() if given == "auto" else readers.whole(1, example="8")("--together", given)
    if count > 1 and (jobs or 1) > 1:
        raise UsageError("--together and --jobs both say how many runs there are at a time; give one of them.")
    return count


def _jobs(sweep: Sweep, jobs: int | None, backend: str) -> tuple[int, str]:
    """How many runs at a time, and why."""
    if jobs is not None:
        return jobs, ""
    cluster, address = cluster_of(backend)
    if cluster is not None and (address or cluster.named()):
        return max(1, sweep.left), f"as many at a time as {backend} takes"
    device = get_backend(sweep.examples[0].settings.device)
    if device.name == "cuda":
        return 1, "one at a time on CUDA"
    try:
        import joblib
    except ImportError:
        return 1, 'one at a time; pip install "gpunet[sweep]" lets them run in parallel'
    return max(1, min(joblib.cpu_count(), sweep.left)), ""


def _header(sweep: Sweep, jobs: int, backend: str, remark: str) -> list[tuple[str, str]]:
    first = sweep.examples[0].settings
    rows, seeds = len(sweep.rows()), len(sweep.seeds)
    what = f"{rows} setting{'s' if rows != 1 else ''} x {seeds} seed{'s' if seeds != 1 else ''}"
    if sweep.search is not None:
        what = f"{sweep.total} trials that Optuna asks for, seed {first.seed}, pruner {sweep.search.place.pruner}"
    before = sweep.total - sweep.left
    done = f", {before} done before" if before else ""
    found = [("sweep", f"{what}{done}")]
    if sweep.varying:
        found.append(("varying", ", ".join(name.replace("_", " ") for name in sweep.varying)))
    held = first.validation
    found.append(("data", f"{first.data}, validation {'of its own' if held == 'auto' else f'held out: {typed(held)}'}"))
    where = remark or (f"{jobs} at a time" + (f" ({backend})" if jobs > 1 or backend != "loky" else ""))
    found.append(("runs", where))
    return found


def _conclude(sweep: Sweep, chosen: Row, tested: bool, json: bool) -> None:
    validation, test = chosen.spread(sweep.judged), chosen.spread(sweep.tested)
    assert validation is not None
    if json:
        for row in sweep.rows():
            for trial in row.trials:
                if trial.key in sweep.tests:
                    told = {"key": trial.key, "varied": trial.varied, "seed": trial.settings.seed}
                    found = {"event": "test", **told, sweep.tested: sweep.tests[trial.key]}
                    sys.stdout.write(json_module.dumps(found) + "\n")
        record: dict[str, Any] = {
            "event": "choice",
            "varied": chosen.varied,
            "settings": chosen.trials[0].settings.to_dict(),
        }
        record[sweep.judged] = validation.mean
        if test is not None:
            record[sweep.tested] = test.mean
        sys.stdout.write(json_module.dumps(record) + "\n")
        return
    display.table(*cells(sweep, sweep.rows(), display.room(), chosen))
    display.line()
    what = chosen.named() or "these settings"
    verdict = f"chosen by {sweep.judged.replace('_', ' ')}: {what} ({validation})"
    display.line(verdict)
    if tested and test is not None:
        display.line(f"{sweep.tested.replace('_', ' ')} of the choice: {test}")
    failed = sum(len(row.errors) for row in sweep.rows())
    stopped = sum(row.pruned for row in sweep.rows())
    if stopped:
        display.line(f"{stopped} of {sweep.total} runs were stopped early, as others did better by then")
    if failed:
        reason = next(row.errors[0] for row in sweep.rows() if row.errors)
        display.note(f"{failed} run{'s' if failed != 1 else ''} failed, for example: {reason}")


def _write_csv(sweep: Sweep, path: str) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write(sweep.csv())


def _draw(sweep: Sweep, path: str) -> None:
    from gpunet.pictures import report, style
    from gpunet.pictures.sweeps import accuracies

    if path.lower().endswith(report.FORMATS):
        report.save(report.of_sweep(sweep), path)
    else:
        style.save(accuracies(sweep), path)
