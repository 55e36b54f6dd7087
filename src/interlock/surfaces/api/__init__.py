"""The HTTP API: the use-cases of :mod:`interlock.service`, and nothing else."""
