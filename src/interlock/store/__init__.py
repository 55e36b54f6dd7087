"""Schema and named queries."""
