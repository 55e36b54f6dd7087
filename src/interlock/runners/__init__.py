"""Adapters that run agents."""
