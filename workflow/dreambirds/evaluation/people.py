"""People as a judge: their answers to a quiz, as the tables that the jobs of a network write. Imports no torch."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.data.answers import Answer, count_votes, read_answers
from dreambirds.data.labels import Label
from dreambirds.data.tables import read_images
from dreambirds.errors import UserError, counted
from dreambirds.evaluation.columns import JUDGES, OF_JUDGE_JOB
from dreambirds.io import digest_of, sha256_of
from dreambirds.plan.dream_table import DREAM

SHUFFLES = 100
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class People:
    """A judge that consists of the answers of people.

    `name` is the judge's, `files` contain the answers, `labels` are the study's classes, and `names` further names of
    them by label. Raises UserError as `read_answers` does.
    """

    name: str
    files: Sequence[Path]
    labels: Sequence[Label]
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def answers(self) -> list[Answer]:
        """The last answer of each person to each image."""
        return read_answers(self.files)

    @cached_property
    def votes(self) -> dict[str, Counter[str]]:
        """The number of times that each answer was given to each image, by the image's sha256."""
        return count_votes(self.answers, self.labels, dict(self.names))

    @property
    def count(self) -> int:
        """The number of people."""
        return len({answer.person for answer in self.answers})


def judge_by_answers(people: People, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per view of each dream, with the columns of `DREAM`, ``judge``, ``view`` and `OF_JUDGE_JOB`.

    `dreams` is the result of `columns.list_views`. The metrics of an image without answers are empty, and so are all
    distances, because people have no features.
    """
    metrics = [
        vote_metrics(people.votes.get(sha256, Counter()), label)
        for sha256, label in zip(dreams["sha256"], dreams["label"], strict=True)
    ]
    found = pd.DataFrame(metrics, columns=OF_JUDGE_JOB, index=dreams.index)
    of_references = found["prediction"].eq(dreams["reference_label"]).astype(float)
    found["reference_top1"] = of_references.where(found["prediction"].notna() & (dreams["reference_label"] != ""))
    return dreams.assign(judge=people.name)[[*DREAM, "judge", "view"]].join(found)


def vote_metrics(votes: Counter[str], label: str) -> dict[str, float | str]:
    """Return the probability, rank, top1 and prediction of an image of a class; empty without answers.

    The probability is the share of the answers that name the class. The rank is 1 plus the number of other answers that
    were given as often or more often, so that a tie is not a recognition, as for equal logits of a network. The
    prediction is the answer that was given most often; in a tie, it is the first one in the order of the alphabet that
    is not the class.
    """
    if not votes:
        return {}
    others = sorted(answer for answer, count in votes.items() if answer != label and count >= votes[label])
    prediction = max(others, key=votes.__getitem__, default=label)
    probability = votes[label] / votes.total()
    return {"probability": probability, "rank": 1 + len(others), "top1": int(not others), "prediction": prediction}


def check_people(people: People, dreams: pd.DataFrame, dataset: Path) -> pd.DataFrame:
    """Return the row of people in ``judges.csv``, and log how many images of their answers the study does not have.

    `dreams` is the result of `columns.list_views` for all dreams, and `dataset` is the folder of the prepared images.
    Those of them that people have seen are the held-out images of this judge. Raises UserError if no answer is about an
    image of the study.
    """
    images = read_images(dataset)
    controls = dict(images[images["path"] != ""][["sha256", "label"]].itertuples(index=False))
    known, seen = set(dreams["sha256"]) | controls.keys(), people.votes.keys()
    if not seen & known:
        problem = f"these answers are about {counted(len(seen), 'image')}, and this study has none of them"
        raise UserError(
            f"{problem}; answer a new quiz of its results (`dreambirds quiz`)", f"judges.{people.name}.answers"
        )
    if unknown := len(seen - known):
        problem = "have changed since the quiz, or are of another study"
        log.warning("%s: %d of %s with answers %s", people.name, unknown, counted(len(seen), "image"), problem)
    real = [(label, vote_metrics(people.votes[sha256], label)) for sha256, label in controls.items() if sha256 in seen]
    row = {
        "judge": people.name,
        "kind": "answers",
        "model": counted(people.count, "participant"),
        "classes": len(people.labels),
        "matched": len(people.labels),
        "unmatched": "",
        "held_out": len(real),
        "held_out_top1": _mean(metrics["top1"] for _, metrics in real),
        "held_out_probability": _mean(metrics["probability"] for _, metrics in real),
        "shuffled_top1": _shuffled([label for label, _ in real], [metrics["prediction"] for _, metrics in real]),
        "weights_sha256": digest_of([sha256_of(path) for path in people.files]),
    }
    return pd.DataFrame([row]).reindex(columns=JUDGES)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else np.nan


def _shuffled(labels: Sequence[str], predictions: Sequence[str]) -> float:
    """Return the mean accuracy for shuffled labels."""
    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(labels)) for _ in range(SHUFFLES)]
    return _mean(predictions[row] == labels[other] for order in orders for row, other in enumerate(order))
