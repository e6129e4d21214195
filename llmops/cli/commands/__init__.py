"""One file per command: its help is its docstring, its options `add_arguments`, its work `run`."""
