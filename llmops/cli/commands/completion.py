"""completion: Print the completion script of a shell.

examples:
  eval "$(llmops completion bash)"                      now; add it to ~/.bashrc to keep it
  llmops completion fish > ~/.config/fish/completions/llmops.fish

Effects: prints.
"""

import argparse

import argcomplete

from llmops.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="your shell")


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    # Without bash's defaults, which would offer files where a revision or a name is needed.
    terminal.print(argcomplete.shellcode(["llmops"], use_defaults=False, shell=arguments.shell))
