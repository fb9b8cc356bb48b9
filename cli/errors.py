"""Turns whatever ends a command into one sentence on standard error and an exit code.

0 success; 1 failure; 2 usage; 130 interrupted (Ctrl-C); 143 terminated (SIGTERM).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from gpunet.errors import GpunetError, TrainingDiverged


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: unwinds like Ctrl-C, so that the same code saves what there is to save."""


class Interrupted(GpunetError):
    """The user stopped a command; the text says where it stopped."""

    def __init__(self, message: str, cause: BaseException) -> None:
        super().__init__(message)
        self.exit_code = 143 if isinstance(cause, Terminated) else 130


def as_typed(error: TrainingDiverged) -> TrainingDiverged:
    """The same error, with the option that it names as it is typed on the command line."""
    return TrainingDiverged(str(error).replace("clip_norm", "--clip-norm"), error.iteration)


#: Other names of commands that people use.
COMMAND_SYNONYMS = {
    "train": "fit learn run", "evaluate": "test eval score validate", "predict": "infer inference classify",
    "lr-find": "lr-finder lr-range-test find-lr", "sweep": "grid search tune hyperopt", "runs": "list ls compare",
    "plot": "draw figure report", "export": "convert onnx", "data": "dataset datasets download", "devices": "gpu info",
}  # fmt: skip

_running = False  # whether a command is at work, and may have something to save


def catch_signals() -> None:
    """Make Ctrl-C and SIGTERM stop the program with a sentence.

    While a command runs they raise KeyboardInterrupt and `Terminated`. While the program starts and ends they end
    the process there and then: there is nothing to save, and some imports swallow an exception or make another one
    of it.
    """

    mine = os.getpid()

    def stop(number: int, frame: Any) -> NoReturn:
        if os.getpid() != mine:  # a worker that was forked: whoever did it has something to say
            os._exit(128 + number)
        if not _running:
            with contextlib.suppress(AttributeError, OSError, ValueError):  # a standard error that is gone
                os.write(sys.stderr.fileno(), b"Stopped.\n")
            os._exit(128 + number)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's background command ignores Ctrl-C
            signal.signal(number, stop)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """A command at work: Ctrl-C and SIGTERM raise inside, so that it saves what there is to save."""
    global _running
    _running = True
    try:
        yield
    except KeyboardInterrupt as error:  # before the option parser makes an exit code of its own of it
        raise Interrupted("Stopped.", error) from None
    finally:
        _running = False


def run(command: Callable[[], Any]) -> int:
    """Call `command` and return the exit code; what went wrong is one sentence on standard error."""
    # A stream that was closed (>&-) is None. What nobody wants to hear is written to nothing; a result is wanted.
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 - open as long as the program runs
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        report(f"standard output is closed; send it to a file or to {os.devnull}.")
        return 1
    for stream in (sys.stdout, sys.stderr):
        _take_any_text(stream)
    try:
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except Interrupted as error:
        report(str(error), error=False)
        return error.exit_code
    except GpunetError as error:
        report(str(error))
        return error.exit_code
    except BrokenPipeError:
        _forget_output()
        return 1
    except KeyboardInterrupt as error:
        stopped = Interrupted("Stopped.", error)
        report(str(stopped), error=False)
        return stopped.exit_code
    except MemoryError as error:
        report(f"not enough memory: {str(error) or 'an array does not fit'}; use a smaller network, batch or data set.")
    except OSError as error:
        report(describe_os_error(error))
        _forget_output()  # where the disk is full, what is left of the output cannot be written at exit either
    except Exception as error:
        if hasattr(error, "format_message"):  # the option parser's own errors, whichever package holds them
            report(_usage_sentence(error))
            return int(getattr(error, "exit_code", 2))
        if os.environ.get("GPUNET_DEBUG"):
            raise
        report(
            f"unexpected {type(error).__name__}: {error} - this is a fault in gpunet; run it again with "
            "GPUNET_DEBUG=1 to see the traceback, and report it."
        )
    return 1


def _take_any_text(stream: Any) -> None:
    """Have a stream write a ? for a character that it lacks, and a file's name that is no UTF-8 as it is."""
    if getattr(stream, "errors", None) == "strict":
        stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "replace")


def describe_os_error(error: OSError) -> str:
    """One sentence for an error of the operating system, with the file where there is one."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"{reason}."
    return f"{error.filename} cannot be used ({reason}); choose another place."


def report(sentence: str, error: bool = True) -> None:
    """Write an error, or what is none, to standard error; one that is gone is not worth another error."""
    from gpunet.cli import display

    try:
        (display.print_error if error else display.note)(sentence)
    except (OSError, ValueError):
        _forget_output()


def _usage_sentence(error: Any) -> str:
    """The option parser's message as a sentence that ends with what may have been meant, or where to read more."""
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None:
        return f"{message}; see gpunet --help."
    stray = re.match(r"Got unexpected extra argument\S* \((.+)\)", message)
    if stray is not None:
        return _stray_sentence(stray[1], context)
    unknown = re.match(r"No such (option|command):? '?([^\s']+)", message)
    if unknown is None:
        return f"{message}; see {context.command_path} --help."
    kind, given = unknown.groups()
    from gpunet.keywords import SYNONYMS, suggestion

    if kind == "command":
        names, synonyms = context.command.list_commands(context), COMMAND_SYNONYMS
    else:
        names = [each for parameter in context.command.params for each in parameter.opts if each.startswith("--")]
        synonyms = {
            "--" + name.replace("_", "-"): " ".join(f"--{other}" for other in others.split())
            for name, others in SYNONYMS.items()
        }
    hint = suggestion(given, names, synonyms).strip() or f"see {context.command_path} --help."
    return f"there is no {kind} {given}; {hint}"


#: The options that take what is often given without one, and what each takes.
_PATHS = {"--run": "a run or a model file", "--data": "data", "--config": "a file of settings"}


def _stray_sentence(given: str, context: Any) -> str:
    """What to do with an argument that a command does not take: the options for what it may be."""
    options = {each for parameter in context.command.params for each in parameter.opts}
    told = [f"{what} with {name}" for name, what in _PATHS.items() if name in options]
    told = [] if re.fullmatch(r"[-+.,;e\d\s]+", given) else told  # the next of an option's values is no path
    hint = f"give {', '.join(told)}; or see" if told else "see"
    return f"{context.command_path} does not take {given} like this; {hint} {context.command_path} --help."


def _forget_output() -> None:
    """Point both outputs at nothing, so that the interpreter's last flush cannot fail; one that works is left."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            try:
                os.dup2(nothing, stream.fileno())
            except (OSError, ValueError):
                continue
