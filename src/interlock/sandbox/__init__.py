"""Places to work in, and walls around them."""
