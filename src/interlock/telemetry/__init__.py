"""Exporters of what was measured. Each is an extra, and an observer: one that fails is counted, never obeyed."""
