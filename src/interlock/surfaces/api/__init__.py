"""The HTTP API: the use-cases of :mod:`interlock.engine.service`, and nothing else."""
