"""One repository as one environment sees it."""
