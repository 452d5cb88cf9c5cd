"""Evaluation of dreams: judges, metrics, the tables of results, and contrasts."""
