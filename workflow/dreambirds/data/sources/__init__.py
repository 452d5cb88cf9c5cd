"""The layouts in which real data comes: what marks each, which classes it has, and where its photographs lie."""
