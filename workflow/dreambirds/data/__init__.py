"""Pictures to learn from: drawn or read, made square, split, and listed in tables."""
