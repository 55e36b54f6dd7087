"""``interlock hook``: the gate for agents that people run themselves, through the hooks of those programs."""
