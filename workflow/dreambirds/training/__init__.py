"""Training as a chain: every kept checkpoint comes from the one before it."""
