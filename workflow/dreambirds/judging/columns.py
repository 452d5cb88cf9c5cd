"""The columns of a study's tables, and what measures are called. Imports no torch."""

from dreambirds.judging.dreams import DREAM
from dreambirds.study.schema import load_schema

SUFFIX = {"raw": "", "rescaled": "_rescaled"}
WORDS = ["probability", "rank", "top1", "sees", "feature_distance", "feature_ratio", "seed_agreement"]
PIXELS = ["spectrum_distance", "variation"]
OWN = ["own_loss", "own_logit", "own_probability", "own_sees", "own_top1"]
OF_VIEW = [*(f"judge_{word}" for word in WORDS[:4]), *WORDS[4:], *PIXELS]
DREAMS = ["run", "epoch", "recipe", "label", "name", "step", "steps_done", "failed_at", *OWN, "change", "judge"]
DREAMS += [f"{word}{suffix}" for suffix in SUFFIX.values() for word in OF_VIEW]
DREAMS += ["seconds", "picture", "picture_rescaled", *load_schema("recipe")["properties"]]
JUDGEMENTS = [*DREAM, "judge", "view", *WORDS]
HISTORY = ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds"]
MEANS = ["own_probability", "judge_probability", "judge_top1"]
RUNS = ["run", "epoch", "model", *HISTORY, "dreams", "judge", *MEANS, "best_recipe", "best_judge_top1"]
RUNS += ["checkpoint_sha256"]
JUDGES = ["judge", "kind", "model", "classes", "matched", "unmatched", "held_out", "held_out_top1"]
JUDGES += ["held_out_probability", "noise_top1", "noise_probability", "shuffled_top1", "weights_sha256"]
CALLED = {
    "judge_probability": "judge's probability",
    "judge_top1": "judge's top 1",
    "judge_rank": "judge's rank (1 is best)",
    "feature_ratio": "feature ratio",
    "seed_agreement": "seed agreement",
    "spectrum_distance": "spectrum distance",
    "variation": "total variation",
    "change": "change from start",
    "own_probability": "own probability",
    "own_top1": "own top 1",
    "seconds": "seconds",
}
