"""Renders results as text, Markdown, JSON, XML and HTML, for people, pull requests and programs."""
