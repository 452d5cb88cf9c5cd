"""People as a judge: reading and matching their answers, their votes against a plain count, and errors."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dreambirds.data.answers import CANNOT_TELL, COLUMNS, count_votes, match_answer, read_answers
from dreambirds.data.labels import Label
from dreambirds.data.tables import IMAGE_COLUMNS, read_table, write_table
from dreambirds.errors import UserError
from dreambirds.evaluation.agreement import seed_agreement, write_features
from dreambirds.evaluation.columns import JUDGES, OF_JUDGE_JOB
from dreambirds.evaluation.people import People, check_people, judge_by_answers, vote_metrics
from dreambirds.plan import inputs
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.plan import make_plan
from tests.helpers.plans import config

LABELS = [
    Label("American_Goldfinch", "American Goldfinch"),
    Label("Blue_Jay", "Blue Jay"),
    Label("Green_Jay", "Green Jay"),
    Label("tit", "シジュウカラ"),
    Label("0050", "Évêque d'Or"),
]
SHA = [f"{number:064x}" for number in range(6)]


def table(path: Path, *rows: tuple) -> Path:
    """Write answers: (number of the image, person, answer, kind) each."""
    lines = [",".join(COLUMNS)]
    lines += [f'{SHA[number]},{person},"{answer}",{kind},1.5,1,q' for number, person, answer, kind in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Blue_Jay", "Blue_Jay"),
        ("blue-jay!", "Blue_Jay"),
        ("A goldfinch", "American_Goldfinch"),
        ("goldfinch, american", "American_Goldfinch"),
        ("jay", None),
        ("a", None),
        ("", None),
        ("blue goldfinch", None),
        ("シジュウカラ", "tit"),
        ("eveque dor", "0050"),
        ("Stieglitz", "American_Goldfinch"),
        ("robin", None),
    ],
)
def test_a_free_answer_names_a_class_by_its_names_or_by_words_that_no_other_class_has(text, label):
    assert match_answer(text, LABELS, {"American_Goldfinch": "Stieglitz"}) == label


def test_a_label_takes_precedence_over_the_name_of_another_class():
    labels = [Label("owl", "Hawk"), Label("hawk", "Owl")]
    assert match_answer("owl", labels, {}) == "owl" and match_answer("OWL", labels, {}) is None


def test_the_last_answer_of_each_person_counts_and_files_may_be_concatenated(tmp_path):
    first = table(tmp_path / "a.csv", (0, "ann", "Blue_Jay", "choice"), (0, "ann", "Green_Jay", "choice"))
    second = table(tmp_path / "b.csv", (0, "bob", "", "none"), (1, "bob", "an owl", "free"))
    both = tmp_path / "both.csv"
    both.write_bytes(b"\xef\xbb\xbf" + first.read_bytes() + second.read_bytes())  # with a byte order mark, as of Excel
    assert read_answers([both]) == read_answers([first, second])
    votes = count_votes(read_answers([both]), LABELS, {})
    assert votes == {SHA[0]: {"Green_Jay": 1, CANNOT_TELL: 1}, SHA[1]: {"an owl": 1}}


def test_metrics_are_a_plain_count_and_a_tie_is_not_a_recognition():
    generator = np.random.default_rng(0)
    for _ in range(200):
        answers = [str(answer) for answer in generator.choice(["x", "y", "z", CANNOT_TELL], generator.integers(1, 6))]
        found = vote_metrics(Counter(answers), "x")
        assert found["probability"] == sum(answer == "x" for answer in answers) / len(answers)
        assert found["rank"] == 1 + sum(answers.count(each) >= answers.count("x") for each in set(answers) - {"x"})
        assert found["top1"] == (found["rank"] == 1) == (found["prediction"] == "x")
        assert answers.count(found["prediction"]) == max(map(answers.count, answers))
    assert vote_metrics(Counter(), "x") == {}


def dreams_of(*labels: str) -> pd.DataFrame:
    """Return the views of dreams whose images have the first digests, compared with photographs of the green jay."""
    rows = [["r", 1, "a", label, 5, "Green_Jay", "raw", SHA[number]] for number, label in enumerate(labels)]
    return pd.DataFrame(rows, columns=[*DREAM, "reference_label", "view", "sha256"])


def test_rows_have_empty_metrics_where_nobody_answered(tmp_path):
    answers = [(0, "ann", "Blue_Jay", "choice"), (0, "bob", "jay", "free"), (2, "bob", "green jay", "free")]
    people = People("person", [table(tmp_path / "a.csv", *answers)], LABELS)
    write_table(judge_by_answers(people, dreams_of("Blue_Jay", "Blue_Jay", "Blue_Jay")), tmp_path / "out.csv", "%.6g")
    found = read_table(tmp_path / "out.csv")
    assert list(found) == [*DREAM, "judge", "view", *OF_JUDGE_JOB]
    assert found["probability"].tolist() == pytest.approx([0.5, np.nan, 0.0], nan_ok=True)
    assert found["top1"].tolist() == pytest.approx([0, np.nan, 0], nan_ok=True)
    assert found["prediction"].tolist() == ["jay", "", "Green_Jay"]
    assert found["reference_top1"].tolist() == pytest.approx([0, np.nan, 1], nan_ok=True)
    assert found[["feature_distance", "feature_ratio"]].isna().all(axis=None)
    tables = [found.assign(recipe=recipe) for recipe in ("a", "b")]
    write_features(np.zeros((3, 0)), tmp_path / "none.safetensors")
    features, families = [tmp_path / "none.safetensors"] * 2, {"a": "same", "b": "same"}
    assert seed_agreement(tables, features, families).isna().all()


def dataset(folder: Path) -> Path:
    """Write the table of prepared images: two of different classes."""
    rows = [(f"images/{label}/0.png", label, "validation", SHA[4 + n]) for n, label in enumerate(("tit", "Blue_Jay"))]
    images = pd.DataFrame(rows, columns=["path", "label", "split", "sha256"]).reindex(columns=IMAGE_COLUMNS)
    folder.mkdir()
    images.to_csv(folder / "images.csv", index=False)
    return folder


def test_the_check_contains_the_accuracy_on_controls_and_counts_images_that_have_changed(tmp_path, caplog):
    rows = [(0, "ann", "Blue_Jay", "choice"), (3, "bob", "Blue_Jay", "choice")]
    rows += [(4, "ann", "tit", "choice"), (5, "ann", "tit", "choice"), (5, "bob", "Blue_Jay", "choice")]
    folder, dreams = dataset(tmp_path / "dataset"), dreams_of("Blue_Jay", "Blue_Jay")
    people = People("person", [table(tmp_path / "a.csv", *rows)], LABELS)
    (row,) = check_people(people, dreams, folder).to_dict("records")
    assert list(row) == JUDGES and row["model"] == "2 participants" and row["kind"] == "answers"
    assert (row["held_out"], row["held_out_top1"], row["held_out_probability"]) == (2, 0.5, 0.75)
    assert row["shuffled_top1"] == 0.5 and np.isnan(row["noise_top1"])
    assert "person: 1 of 4 images with answers have changed since the quiz, or are of another study" in caplog.text
    none = People("person", [table(tmp_path / "a.csv", rows[0])], LABELS)
    assert np.isnan(check_people(none, dreams, folder)["held_out_top1"].item())
    other = People("person", [table(tmp_path / "a.csv", rows[1])], LABELS)
    sentence = r"^judges.person.answers: these answers are about 1 image, and this study has none of them; answer a new"
    with pytest.raises(UserError, match=sentence):
        check_people(other, dreams, folder)


HEAD, ROW = "picture_sha256,person,answer,kind", f"{SHA[0]},ann,x,free"
BAD = {
    "has no column 'kind'; save the answers again": b"picture_sha256,person,answer\n1,2,3\n",
    "contains no rows; ": b"picture_sha256,person,answer,kind\n",
    "(it is empty); ": b"",
    "cannot read the table ": b"picture_sha256,person,answer,kind\n\xff\n",
    "line 2: columns are missing; ": b"picture_sha256,person,answer,kind\n1\n",
    "line 3: unknown kind 'fre'; did you mean 'free'?": f"{HEAD}\n{ROW}\n{ROW[:-1]}\n".encode(),
    "line 2: invalid picture_sha256 '12'; ": b"picture_sha256,person,answer,kind\n12,ann,x,free\n",
}


@pytest.mark.parametrize("message", BAD)
def test_a_file_that_contains_no_answers_is_refused_when_planning(tmp_path, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(BAD[message])
    with pytest.raises(UserError) as error:
        make_plan(config(judges={"person": {"answers": str(path)}}))
    assert str(error.value).startswith("judges.person.answers: ") and message in str(error.value)
    assert str(path) in str(error.value)


def test_answers_are_a_judge_with_one_or_several_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = (table(tmp_path / name, (0, "ann", "x", "free")) for name in ("a.csv", "b.csv"))
    plan = make_plan(config(judges={"p": {"answers": "a.csv"}, "q": {"answers": [str(one), str(two)]}}))
    assert inputs.answers(plan, "p") == inputs.judge_files(plan, "p") == ["a.csv"]
    assert inputs.answers(plan, "q") == [str(one), str(two)]
    assert list(inputs.judged_recipes(plan, "p")) == ["scratch"]
    for judge, sentence in (
        ({"answers": "c.csv"}, "judges.p.answers: 'c.csv' does not exist; correct the path"),
        ({"answers": ["a.csv", "."]}, "judges.p.answers: '.' is not a file; correct the path"),
        ({"answers": "a.csv", "labels": "x"}, "judges.p.labels: is only used with 'weights', not 'answers'; remove it"),
        ({"answers": "a.csv", "names": {"jay": "x"}}, "judges.p.names: unknown label 'jay'; did you mean 'blue_jay'?"),
    ):
        with pytest.raises(UserError) as error:
            make_plan(config(judges={"p": judge}))
        assert str(error.value).startswith(sentence)
