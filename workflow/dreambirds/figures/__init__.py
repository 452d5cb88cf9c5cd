"""Figures: montages, animations, plots, and an overview of the data set."""
