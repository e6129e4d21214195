"""One file per runtime: where replicas run."""
