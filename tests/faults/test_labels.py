"""Labels and comparisons of names in any script."""

# ruff: noqa: RUF001

import os
import re
import subprocess
import sys
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreambirds.config.class_names import output_labels
from dreambirds.data.answers import match_answer
from dreambirds.data.labels import (
    LONGEST,
    Label,
    choose_labels,
    labels_of_classes,
    make_labels,
    match_classes,
    names_by_label,
    read_names,
)
from dreambirds.data.names import folded, normalized, readable
from dreambirds.errors import UserError, did_you_mean
from dreambirds.one_image.network import find_class
from tests.helpers.names import LABELS_OF

DIGEST = "[0-9a-f]{6}"
SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
NAMES = st.lists(
    st.text(st.sampled_from("aAéÉß鵲鹊喜麻马雀かがيهम् _-.!\u0301\u3099\u200d\u202e\udcff🐦"), max_size=6), unique=True
)
WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def labels_by_name(*names: str) -> dict[str, str]:
    """Return the label of each class of a folder by the name of its subfolder."""
    return {label.folder: label.label for label in labels_of(*names)}


def labels_of(*names: str) -> list[Label]:
    """Return the classes of a folder with subfolders of these names."""
    return make_labels((name, readable(name), name) for name in names)


@pytest.mark.parametrize(("name", "label"), LABELS_OF.items())
def test_labels_are_readable_in_every_script(name, label):
    assert labels_by_name(name)[name] == label
    assert labels_by_name(unicodedata.normalize("NFD", name)) == {unicodedata.normalize("NFD", name): label}
    assert [each.label for each in labels_of_classes([f"{name} (x)"])] == [label]


def test_all_of_them_have_different_labels_together(counted):
    together = labels_by_name(*LABELS_OF)
    assert len({label.casefold() for label in together.values()}) == len(LABELS_OF)
    counted("class names in other scripts", len(LABELS_OF))


@pytest.mark.parametrize("name", ["!!!", "...", "\u202e", "\ue000", "\udcff\udcfe", "\u200d", "__"])
def test_names_without_letters_have_a_digest(name, counted):
    assert re.fullmatch(f"class_{DIGEST}", labels_by_name(name, "a")[name])
    counted("class names in other scripts")


@pytest.mark.parametrize("name", ["CON", "nul", "Com1", "LPT9", "aux"])
def test_names_that_windows_reserves_are_avoided(name):
    assert labels_by_name(name) == {name: f"class_{name}"}


@pytest.mark.parametrize(
    "names",
    [
        ("麻雀", "马雀"),
        ("Blue Jay", "Blue.Jay"),
        ("Aist", "Аист"),
        ("しじゅうから", "シジュウカラ"),
        ("ß", "ẞ"),
        ("a", "a\u200d"),
    ],
)
def test_names_with_one_label_have_a_digest_unless_they_are_that_label(names):
    alone, both = [labels_by_name(name)[name] for name in names], labels_by_name(*names)
    for name, label in zip(names, alone, strict=True):
        assert both[name] == label if name == label else re.fullmatch(f"{label}_{DIGEST}", both[name])
    assert labels_by_name(*reversed(names), "other").items() >= both.items()


def test_names_that_are_the_same_without_case_or_altogether_keep_nothing():
    assert all(re.fullmatch(f"[Rr]obin_{DIGEST}", label) for label in labels_by_name("Robin", "robin").values())
    twins = make_labels([("jay", "jay", "1"), ("jay", "jay", "2")])
    assert len({label.label for label in twins}) == 2
    assert twins[1] == make_labels([("jay", "jay", "2"), ("jay", "jay", "5")])[0], "it depends on name and folder only"


@settings(max_examples=150, deadline=None)
@given(NAMES, st.randoms(use_true_random=False))
@example(["MaQue_6610dc", "麻雀", "马雀"], None)
def test_labels_are_safe_unique_and_independent_of_order(names, random):
    found = labels_by_name(*names)
    assert len({label.casefold() for label in found.values()}) == len(names)
    assert all(SAFE.fullmatch(label) and len(label) <= LONGEST for label in found.values())
    assert not WINDOWS & {label.casefold() for label in found.values()}
    shuffled = sorted(names, key=lambda _: random.random()) if random else names[::-1]
    if len({unicodedata.normalize("NFC", name) for name in names}) == len(names):
        assert labels_by_name(*shuffled) == found


@settings(max_examples=150, deadline=None)
@given(NAMES)
def test_another_class_moves_only_labels_that_it_collides_with(names):
    *others, new = [*names, "喜鹊"]
    before, after = labels_by_name(*others), labels_by_name(*others, new)
    stem = labels_by_name(new)[new].casefold()
    assert all(before[name] == after[name] or before[name].casefold() == stem for name in others)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Möwe", "MOWE"),
        ("Grønland", "gronland"),
        ("Weißkopf", "WEISSKOPF"),
        ("ISIRGAN", "ısırgan"),
        ("İbis", "ibis"),
        ("Chào mào", "chao-mao"),
        ("ʻIʻiwi", "I'iwi"),
        ("ＦＵＬＬ", "full"),
        ("Χελιδόνι", "ΧΕΛΙΔΟΝΙ"),
        ("Воробей", "ВОРОБЕЙ"),
        ("ｶﾞﾝ", "ガン"),
        ("까치", unicodedata.normalize("NFD", "까치")),
        ("喜鹊 1", "喜鹊_1"),
        ("می\u200cروم", "میروم"),
        ("🐦", "🐦"),
    ],
)
def test_names_are_the_same_without_case_latin_accents_and_spaces(one, other):
    assert normalized(one) == normalized(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("はら", "ばら"),
        ("ハン", "パン"),
        ("कि", "की"),
        ("क", "क्"),
        ("มา", "ม้า"),
        ("ক", "কা"),
        ("喜鹊", "喜雀"),
        ("и", "й"),
        ("crow", "сrow"),
        ("שׁ", "שׂ"),
        ("🐦", "🦜"),
        ("!!!", "???"),
    ],
)
def test_names_that_differ_in_meaning_are_different(one, other, counted):
    assert normalized(one) != normalized(other)
    assert [label.folder for label in choose_labels(labels_of(one, other), [other], "where")] == [other]
    counted("class names in other scripts", 2)


@pytest.mark.parametrize("requested", ["喜鹊", "XiQue", "xique", "Möwe", "MÖWE", "MOWE", "Mowe", "까치", "KKACHI"])
def test_a_class_is_requested_by_its_name_or_label_in_any_form(requested):
    labels = labels_of("喜鹊", "Möwe", "mowe", "까치")
    expected = {"x": "喜鹊", "喜": "喜鹊", "m": "Möwe", "까": "까치", "k": "까치"}[folded(requested)[0]]
    expected = "mowe" if requested.lower() == "mowe" else expected
    for form in ("NFC", "NFD"):
        (chosen,) = choose_labels(labels, [unicodedata.normalize(form, requested)], "where")
        assert chosen.folder == expected


def test_hints_know_every_script():
    labels = labels_of("喜鹊", "麻雀", "नीलकंठ", *(f"x{number}" for number in range(20)))
    for typed, hint in {"喜雀": "'XiQue' (喜鹊)", "नीलकठ": "'nilkmth' (नीलकंठ)", "XiQua": "'XiQue' (喜鹊)"}.items():
        with pytest.raises(UserError, match=re.escape(hint)):
            choose_labels(labels, [typed], "dataset.labels")
    assert did_you_mean(unicodedata.normalize("NFD", "까찌"), ["까치", "x"]).startswith("did you mean '까치'?")


def test_networks_match_by_name_and_exact_names_come_first():
    labels = labels_of("喜鹊", "麻雀", "Möwe", "mowe")
    classes = ["mowe", "麻雀", "12.喜鹊", unicodedata.normalize("NFD", "MÖWE"), "鸟\uff08喜\uff09"]
    indices = match_classes(labels, classes, {})
    assert {label.folder: indices[label.label] for label in labels} == {"喜鹊": 2, "麻雀": 1, "Möwe": 3, "mowe": 0}
    assert output_labels(labels, classes, {})[1:3] == ["MaQue", "XiQue"]
    renamed = match_classes(labels_of("喜鹊", "b"), ["鸟\uff08喜\uff09", "b"], {"喜鹊": "喜"})
    assert renamed == {"XiQue": 0, "b": 1}, "the key may be the class's own name"
    with pytest.raises(UserError, match=r"names: 'XIQUE' is another name of 'XiQue', which is also here; remove"):
        names_by_label(labels, {"喜鹊": "a", "XIQUE": "b"})


@pytest.mark.parametrize(("name", "index"), {"喜鹊": 0, "xique": 0, "까치": 1, "MÖWE": 2, "mowe": 3, "Pica": 4}.items())
def test_a_single_image_is_of_a_class_by_its_name_in_any_form(name, index):
    names = ["喜鹊", "까치", "Möwe", "mowe", "鸟\uff08Pica\uff09"]
    info = SimpleNamespace(labels=[label.label for label in labels_of_classes(names)])
    assert find_class(SimpleNamespace(info=info, names=names), unicodedata.normalize("NFD", name)) == index


def test_people_answer_in_any_script():
    labels = labels_of("नील कंठ", "喜鹊", "麻雀", "Möwe", "mowe")
    for text, name in {"喜鹊": "喜鹊", "कंठ": "नील कंठ", "xique": "喜鹊", "MÖWE": "Möwe", "mowe": "mowe"}.items():
        expected = next(label.label for label in labels if label.folder == name)
        assert match_answer(unicodedata.normalize("NFD", text), labels, {}) == expected
    assert match_answer("कठ", labels, {}) is None and match_answer("雀", labels, {}) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_names_may_have_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / "names.txt").write_bytes("喜鹊\r\n麻雀\r\n".encode(encoding))
    assert read_names(tmp_path / "names.txt") == ["喜鹊", "麻雀"]


def test_display_names_are_composed_and_keep_what_joins_letters():
    assert readable(unicodedata.normalize("NFD", "Möwe_까치")) == "Möwe 까치"
    assert readable("🐦\u200d⬛ می\u200cروم") == "🐦\u200d⬛ می\u200cروم"
    assert readable("a\u202eb\udcff\ud800\x1b") == r"a\u202eb\xff\ud800\x1b"


def test_names_of_files_are_the_same_in_any_locale():
    name = "os.fsdecode(bytes([229, 150, 156]))"
    code = f"import os; from dreambirds.data.names import of_file; print(ascii(of_file({name})))"
    for locale in ({"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}):
        command, env = [sys.executable, "-c", code], {**os.environ, **locale}
        done = subprocess.run(command, env=env, capture_output=True, check=True, encoding="utf-8")
        assert done.stdout.strip() == ascii("喜")
