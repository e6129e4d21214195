"""Answers requests: a gateway for clients, engines behind it, and runtimes that keep the engines up."""
