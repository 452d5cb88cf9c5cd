"""The colors of plots: those of Okabe and Ito, which color-blind readers can tell apart, and grays."""

COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f"]
TRAIN, VALIDATION = COLORS[:2]
DARK, GRAY = "#333333", "#555555"  # of error bars, and of dashed lines and notes
