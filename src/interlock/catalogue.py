"""Agents as teams define them: Markdown with front matter, and the project's configuration."""
