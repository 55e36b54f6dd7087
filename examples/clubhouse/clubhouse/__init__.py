"""A sports club: teams, athletes, what they measured, and a page that shows it."""
