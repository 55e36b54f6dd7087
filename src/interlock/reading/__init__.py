"""Readers: languages and text to findings, pure."""
