"""Rules: pure functions of facts and the time they are given."""
