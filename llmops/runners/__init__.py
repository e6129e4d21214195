"""One file per runner: where steps run."""
