"""completion: Print what makes your shell complete llmops.

examples:
  eval "$(llmops completion bash)"                      now; put it into ~/.bashrc to keep it
  llmops completion fish > ~/.config/fish/completions/llmops.fish

Effects: prints.
"""

from __future__ import annotations

import argparse

import argcomplete

from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="your shell")


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    # Without bash's defaults: where nothing fits, it would offer files for a revision or a name.
    terminal.say(argcomplete.shellcode(["llmops"], use_defaults=False, shell=arguments.shell))
    return Exit.WELL
