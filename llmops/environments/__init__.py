"""Opens one repository for one environment: its ledger, store, work and running processes."""
