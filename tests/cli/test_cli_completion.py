"""Completion in bash, zsh and fish: what the shells ask for, and the scripts that make them ask."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import environment, gpunet

import gpunet as gn

#: The installed command; a shell completes it by its name.
COMMAND = shutil.which("gpunet", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

pytestmark = pytest.mark.host


def asked_by(shell: str, line: str) -> str:
    """What the program answers when a shell asks how to go on with a line."""
    words = line.split(" ")
    changes = {"_GPUNET_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    if shell == "bash":
        changes |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        changes["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    return gpunet(code=None, **changes).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_and_names_are_completed(shell):
    assert "train" in asked_by(shell, "gpunet tr")
    assert "--optimizer" in asked_by(shell, "gpunet train --opt")
    answer = re.findall(r"[\w-]+", asked_by(shell, "gpunet train --activation s"))
    for name in gn.ACTIVATIONS:
        assert (name in answer) == name.startswith("s"), name


@pytest.mark.skipif(COMMAND is None, reason="the command gpunet is not installed")
@pytest.mark.parametrize(("line", "found"), [
    ("train --activation relu,ta", ["relu,tanh"]),
    ("train --optimizer adam:be", ["adam:beta1=", "adam:beta2="]),
    ("train --optimizer adam:beta1=0.8,e", ["adam:beta1=0.8,epsilon="]),
    ("train --schedule cosine:w", ["cosine:warmup="]),
    ("evaluate runs/a --split ", ["train", "validation", "test"]),
    ("train --log t", ["tensorboard"]),
    ("train --device cu", ["cuda"]),
])  # fmt: skip
def test_items_of_lists_hyperparameters_and_choices_are_completed(line, found):
    answer = asked_by("zsh", f"gpunet {line}").replace("\\\\:", ":")
    assert re.findall(r'"([^"]*)"', answer) == found


@pytest.mark.parametrize(("line", "found"), [
    ("train --optimizer adam:be", ["beta1=", "beta2="]),
    ("train --optimizer adam:", ["beta1=", "beta2=", "epsilon="]),
    ("train --optimizer adam:beta1=0.8,e", ["0.8,epsilon="]),
    ("train --activation relu,ta", ["relu,tanh"]),
])  # fmt: skip
def test_bash_is_answered_with_what_stands_behind_a_colon(line, found):
    words = re.findall(r"[^\s:=]+|[:=]", f"gpunet {line}")  # as bash breaks them
    changes = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    assert gpunet(code=None, _GPUNET_COMPLETE="complete_bash", **changes).stdout.split() == found


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_plain_help_breaks_no_name_at_its_hyphen(columns):
    help = gpunet("train", "--help", COLUMNS=str(columns)).stdout
    assert not re.search(r"\w-\n", help)
    assert "hard-tanh" in help
    assert "\u2011" not in help


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        (
            "bash",
            'eval "$(gpunet --show-completion)"; COMP_WORDS=(gpunet train --optimizer ada); COMP_CWORD=3;'
            "_gpunet_completion gpunet; printf '%s\\n' \"${COMPREPLY[@]}\"",
        ),
        ("fish", 'gpunet --show-completion | source; complete -C "gpunet train --optimizer ada"'),
        (
            "zsh",
            'autoload -U compinit; compinit -u -D; eval "$(gpunet --show-completion)"; words=(gpunet train --optimizer '
            "ada); CURRENT=4; _arguments() { print -l -- $@ }; _gpunet_completion",
        ),
    ],
)
def test_the_documented_script_works_in_the_shell(shell, code, tmp_path):
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    assert COMMAND is not None
    path = os.pathsep.join([str(Path(COMMAND).parent), os.environ.get("PATH", "")])
    # The script is made for the shell that asks; a shell that runs only this may be replaced by it, so it does more.
    answer = subprocess.run(
        [found, "-c", f"{code}; true"], capture_output=True, text=True, env=environment(PATH=path, HOME=str(tmp_path))
    ).stdout
    assert {"adagrad", "adam", "adamw"} <= set(re.findall(r"[\w-]+", answer))
    assert "sgd" not in answer
