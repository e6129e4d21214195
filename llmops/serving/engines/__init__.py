"""One file per engine: what answers requests. Light to import; the programs themselves run outside."""
