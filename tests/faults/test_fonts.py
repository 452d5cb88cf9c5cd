"""Fonts for names that DejaVu cannot write, with a font that is made here."""

import logging
import warnings

import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.ttCollection import TTCollection
from PIL import Image, ImageFont

from dreambirds.figures import fonts
from dreambirds.figures.draw import bars, confusion_map, effects
from dreambirds.figures.fonts import Font, default_font, families, runs, shown, warn_of_missing_fonts
from dreambirds.figures.montage import Grid, montage
from dreambirds.figures.text import PAPER, Face, font, save_figure, shorten, write

UNITS = 1000


def make_font(family: str, characters: str, style: str = "Regular") -> FontBuilder:
    """Return a font whose characters are black squares of a full em."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    builder, names = FontBuilder(UNITS, isTTF=True), [".notdef", *(f"u{ord(each):x}" for each in characters)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    builder.setupGlyf({name: empty if name == ".notdef" else square for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (UNITS, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2()
    builder.setupPost()
    return builder


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """Return a function that makes fonts the only ones of the system; there are none at first."""
    paths: list[str] = []
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: list(reversed(paths)))
    monkeypatch.setattr(fonts, "_found", {})

    def install(name: str, *built: FontBuilder) -> str:
        path = tmp_path / name
        if len(built) == 1:
            built[0].save(path)
        else:
            collection = TTCollection()
            collection.fonts = [builder.font for builder in built]
            collection.save(path)
        paths.append(str(path))
        fonts.system_fonts.cache_clear()
        fonts._found.clear()
        return str(path)

    fonts.system_fonts.cache_clear()
    yield install
    fonts.system_fonts.cache_clear()


def ink(text: str, face: Face, width: int = 200) -> np.ndarray:
    """Return where a text has ink, as booleans (20, width)."""
    page = Image.new("RGB", (width, 20), PAPER)
    write(page, text, (0, 0, width, 20), face, "left", "#000000")
    return np.asarray(page.convert("L")) < 128


def test_characters_that_dejavu_lacks_are_written_in_a_font_of_the_system(installed):
    path = installed("squares.ttf", make_font("Squares", "喜鹊"))
    assert runs("Pica 喜鹊!") == [(default_font(), "Pica "), (Font(path), "喜鹊"), (default_font(), "!")]
    assert font(20).getlength("喜鹊") == 40
    assert font(20).getlength("Pica 喜鹊") == ImageFont.truetype(default_font().path, 20).getlength("Pica ") + 40
    found = ink("喜鹊", font(20, True))
    assert found[8, 4:16].all() and found[8, 24:36].all() and not found[:, 41:].any(), "two squares"
    assert shorten("喜鹊鹊鹊鹊", 75, font(20)) == "喜鹊…"
    assert np.array_equal(ink("Blue Jay", font(14)), ink("Blue Jay", Face(14)))


def test_the_font_of_a_collection_is_opened_by_its_number(installed):
    path = installed("both.ttc", make_font("One", "a"), make_font("Two", "鹊"))
    assert runs("鹊") == [(Font(path, 1), "鹊")] and ink("鹊", font(20)).any()
    assert families("a鹊") == ["DejaVu Sans", "Two"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_choice_does_not_depend_on_the_order_of_texts_or_files(installed, order):
    built = {
        "b.ttf": make_font("Larger", "喜鹊麻雀"),
        "a.ttf": make_font("Small", "喜"),
        "c.ttf": make_font("Bold", "喜鹊麻雀燕子", "Bold"),
        "e.ttf": make_font("Some Color Emoji", "喜鹊麻雀燕子가🐦"),
        "d.ttf": make_font("Some Serif", "喜鹊麻雀燕子가", "Bold"),
    }
    for name in list(built)[::order]:
        installed(name, built[name])
    assert shown("🐦") == ":bird:", "a font of bitmaps has fixed sizes"
    for text in ["喜", "喜鹊", "燕", "가", "麻"][::order]:
        runs(text)
    assert [[font.path[-5:] for font, _ in runs(text)] for text in ("喜鹊", "燕", "가")] == [
        ["b.ttf"],
        ["c.ttf"],
        ["d.ttf"],
    ]


def test_characters_without_a_font_are_written_as_they_sound_with_one_line_in_the_log(caplog):
    page = Grid([[None], [None]], ["喜鹊", "नील 🐦"], ["燕子"], "Title", "subtitle")
    with caplog.at_level(logging.WARNING, "dreambirds"):
        assert (
            montage(page, 60).size
            == montage(Grid([[None], [None]], ["XiQue", "nil :bird:"], ["YanZi"], "Title", "subtitle"), 60).size
        )
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith("no font here has ") and "鹊" in line and line.count("fonts-") == 3
    assert "Debian's fonts-noto-cjk, fonts-noto-core and fonts-symbola" in line
    assert shown("Pica 喜鹊") == "Pica XiQue" and np.array_equal(ink("喜鹊", font(14)), ink("XiQue", font(14)))
    caplog.clear()
    warn_of_missing_fonts(["Blue Jay", "Воробей", "هدهد", "צופית", "Chào mào", "می\u200cروم", "❤\ufe0f"])
    assert not caplog.records


def test_a_text_from_right_to_left_in_another_font_is_drawn_in_its_order(installed):
    font = Font(installed("thaana.ttf", make_font("Thaana", "\u078b\u07a8(1")))
    assert runs("\u078b\u07a8 1 \u078b") == [(font, "\u078b\u07a8 1 \u078b")], "words in one part"
    assert runs("\u078b (2 a)") == [(default_font(), "2 a)"), (font, "\u078b (")], "the first word is on the right"
    assert runs("a \u078b\u07a8 b") == [(default_font(), "a "), (font, "\u078b\u07a8 "), (default_font(), "b")]


@pytest.mark.parametrize("has_font", [True, False])
def test_plots_write_names_of_any_script_without_a_warning(installed, tmp_path, has_font):
    if has_font:
        installed("squares.ttf", make_font("Squares", "喜鹊麻马雀"))
    names = pd.Series(["喜鹊", "麻雀", "马雀", "麻雀", r"$\frac$ $x"])
    rows = pd.DataFrame({"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "top1": [0.1, 0.2, 0.3, 0.4, 0.5]})
    confusion = pd.DataFrame({"label": ["a", "b"], "prediction": ["a", "b"], "share": 1.0})
    finding = {"vary": ["label"], "baseline": ["喜鹊"], "compared": ["$a$"], "where": "", "measure": "m"}
    finding |= {"difference": 0.1, "ci_low": 0.0, "ci_high": 0.2}
    figures = {
        "bars": bars(rows, names, "probability", "top 1"),
        "confusion": confusion_map(confusion, {"a": "喜鹊", "b": "$x$"}),
        "effects": effects(pd.DataFrame(finding), {"m": "measure"}),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in figures.items():
            save_figure(figure, tmp_path / f"{name}.png")
            assert (tmp_path / f"{name}.png").stat().st_size > 1000
    shown_names = [tick.get_text() for tick in figures["bars"].axes[0].get_yticklabels()]
    expected = list(names) if has_font else ["XiQue", "MaQue", "MaQue", "MaQue", r"$\frac$ $x"]
    assert shown_names == expected[::-1] and len(figures["bars"].axes[0].patches) == 5, "one bar per row"
