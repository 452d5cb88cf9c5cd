"""The appearance of each species, as data: proportions, colors and field marks.

Body shapes are in body lengths along the body (breast +0.5, tail base -0.5) and in half body depths across it (back +1,
belly -1). Head shapes are in head radii, with the bill at +x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imports NumPy, and a study is planned without it
    from dreambirds.data.synthetic.color import Color

Shape = tuple[tuple[float, float], ...]

RED: Color = (208, 36, 40)
YELLOW: Color = (250, 208, 40)
BLUE: Color = (66, 116, 198)
BLACK: Color = (28, 27, 31)
WHITE: Color = (244, 243, 238)


@dataclass(frozen=True)
class Mark:
    """A patch of plumage on the "head" or the "body"; a soft one has blurred edges."""

    where: str
    color: Color
    shape: Shape
    soft: bool = False


@dataclass(frozen=True)
class Bill:
    """A bill: length and depth in head radii, and the colors of both mandibles.

    `cone` is its shape, from 0 (dagger) to 1 (finch).
    """

    length: float
    depth: float
    upper: Color
    lower: Color
    cone: float = 0.5


@dataclass(frozen=True)
class Wing:
    """The colors of a wing; `bars` are (position along the wing, color, thickness)."""

    coverts: Color
    flight: Color
    edge: Color
    bars: tuple[tuple[float, Color, float], ...] = ()
    barred: bool = False


@dataclass(frozen=True)
class Tail:
    """A tail: length and half-width in body lengths, and colors.

    `notch` is the length by which the middle feathers are shorter.
    """

    length: float
    width: float
    color: Color
    edge: Color
    outer: Color | None = None
    notch: float = 0.0
    barred: bool = False


@dataclass(frozen=True)
class Species:
    """One species of bird; lengths are in body lengths unless noted."""

    name: str
    main: Color
    upper: Color
    under: Color
    head: Color
    wing: Wing
    tail: Tail
    bill: Bill
    depth: float = 0.52
    head_radius: float = 0.205
    crest: float = 0.0
    leg: float = 0.16
    legs: Color = (92, 74, 66)
    marks: tuple[Mark, ...] = ()
    streaks: Color | None = None
    wader: bool = False


_CARDINAL_MASK = Mark(
    "head", BLACK, ((0.62, 0.4), (0.95, 0.52), (1.3, 0.1), (1.1, -0.7), (0.72, -0.98), (0.42, -0.72), (0.5, -0.1))
)
_GOLDFINCH_CAP = Mark(
    "head", BLACK, ((1.1, 0.18), (1.1, 0.7), (0.7, 1.2), (0.0, 1.25), (-0.12, 0.98), (0.2, 0.66), (0.62, 0.38))
)
_VENT = ((-0.22, -0.95), (-0.3, -0.35), (-0.5, 0.0), (-0.75, -0.2), (-0.6, -1.1))

_JAY_MARKS = (
    Mark("body", (176, 184, 198), ((0.05, -0.75), (0.42, -0.75), (0.55, -0.1), (0.3, 0.0)), soft=True),
    Mark("head", WHITE, ((1.2, 0.3), (0.5, 0.42), (-0.1, 0.35), (-0.5, 0.0), (-0.45, -0.7), (0.1, -1.25), (1.1, -1.1))),
    Mark("head", WHITE, ((0.9, 0.22), (0.62, 0.52), (0.2, 0.56), (-0.15, 0.36), (0.3, 0.3))),
    Mark("head", BLACK, ((1.05, 0.14), (0.7, 0.16), (0.3, 0.2), (0.3, 0.06), (0.7, 0.02), (1.05, -0.02))),
    Mark(
        "head",
        BLACK,
        (
            (-0.62, 0.62),
            (-0.42, 0.3),
            (-0.36, -0.3),
            (-0.08, -0.86),
            (0.5, -1.16),
            (1.0, -1.2),
            (1.1, -1.5),
            (0.5, -1.52),
            (-0.22, -1.2),
            (-0.62, -0.5),
            (-0.72, 0.2),
        ),
    ),
)
_BLUEBIRD_MARKS = (
    Mark("body", WHITE, ((-0.1, -1.3), (-0.02, -0.55), (-0.3, -0.2), (-0.7, -0.1), (-0.6, -1.2)), soft=True),
    Mark("head", (206, 112, 58), ((1.0, -0.42), (0.4, -0.42), (-0.2, -0.62), (-0.6, -1.2), (0.4, -2.2), (1.5, -1.4))),
)
_CHICKADEE_MARKS = (
    Mark("body", (226, 190, 146), ((-0.45, -0.15), (-0.1, -0.35), (0.1, -0.75), (-0.3, -1.0), (-0.6, -0.5)), soft=True),
    Mark(
        "head", WHITE, ((1.1, -0.12), (0.2, 0.05), (-0.55, 0.2), (-1.05, 0.0), (-0.85, -0.6), (0.1, -0.95), (1.0, -0.6))
    ),
    Mark(
        "head",
        BLACK,
        (
            (1.2, -0.1),
            (0.7, -0.02),
            (0.2, 0.04),
            (-0.4, 0.2),
            (-0.82, 0.06),
            (-1.04, -0.08),
            (-1.1, 0.4),
            (-0.75, 1.0),
            (-0.5, 1.4),
            (0.6, 1.4),
            (1.3, 0.7),
        ),
    ),
    Mark(
        "head",
        BLACK,
        ((1.2, -0.2), (0.78, -0.26), (0.5, -0.5), (0.05, -0.86), (0.12, -1.12), (0.7, -1.25), (1.2, -0.9)),
    ),
)

SPECIES: dict[str, Species] = {
    "northern_cardinal": Species(
        name="Northern Cardinal",
        main=RED,
        upper=(178, 34, 42),
        under=(216, 44, 44),
        head=RED,
        wing=Wing((166, 34, 44), (136, 34, 44), (206, 70, 68)),
        tail=Tail(0.82, 0.11, (158, 32, 42), (198, 62, 60)),
        bill=Bill(0.66, 0.82, (240, 104, 52), (226, 84, 40), cone=1.0),
        crest=1.15,
        legs=(128, 84, 76),
        marks=(_CARDINAL_MASK,),
    ),
    "scarlet_tanager": Species(
        name="Scarlet Tanager",
        main=RED,
        upper=(198, 34, 38),
        under=(214, 42, 42),
        head=RED,
        wing=Wing(BLACK, (36, 35, 40), (74, 72, 80)),
        tail=Tail(0.5, 0.09, BLACK, (70, 68, 76), notch=0.06),
        bill=Bill(0.62, 0.5, (196, 190, 166), (176, 170, 148), cone=0.45),
        depth=0.5,
    ),
    "american_goldfinch": Species(
        name="American Goldfinch",
        main=YELLOW,
        upper=(240, 196, 40),
        under=(252, 216, 58),
        head=YELLOW,
        wing=Wing(BLACK, (34, 33, 38), (196, 194, 188), bars=((0.3, WHITE, 0.045), (0.48, WHITE, 0.07))),
        tail=Tail(0.46, 0.1, BLACK, (210, 208, 202), notch=0.16),
        bill=Bill(0.52, 0.56, (244, 158, 104), (232, 136, 88), cone=0.9),
        depth=0.56,
        head_radius=0.22,
        legs=(176, 122, 96),
        marks=(Mark("body", WHITE, _VENT, soft=True), _GOLDFINCH_CAP),
    ),
    "yellow_warbler": Species(
        name="Yellow Warbler",
        main=YELLOW,
        upper=(212, 184, 52),
        under=(252, 214, 50),
        head=YELLOW,
        wing=Wing((204, 182, 56), (150, 138, 62), (248, 226, 104)),
        tail=Tail(0.52, 0.085, (150, 140, 60), (246, 218, 84), notch=0.05),
        bill=Bill(0.58, 0.26, (70, 62, 60), (96, 84, 76), cone=0.1),
        depth=0.48,
        head_radius=0.2,
        legs=(168, 134, 84),
        streaks=(178, 84, 44),
    ),
    "blue_jay": Species(
        name="Blue Jay",
        main=BLUE,
        upper=(84, 124, 194),
        under=(228, 229, 230),
        head=BLUE,
        wing=Wing((72, 124, 206), (54, 108, 200), (96, 148, 222), bars=((0.42, WHITE, 0.06),), barred=True),
        tail=Tail(0.84, 0.12, (62, 116, 204), (32, 62, 120), outer=WHITE, barred=True),
        bill=Bill(0.78, 0.46, BLACK, (48, 47, 52), cone=0.35),
        crest=1.0,
        legs=(62, 60, 64),
        marks=_JAY_MARKS,
    ),
    "eastern_bluebird": Species(
        name="Eastern Bluebird",
        main=BLUE,
        upper=BLUE,
        under=(206, 112, 58),
        head=BLUE,
        wing=Wing((62, 116, 206), (50, 92, 168), (104, 152, 222)),
        tail=Tail(0.5, 0.09, (54, 98, 178), (98, 142, 208), notch=0.05),
        bill=Bill(0.46, 0.3, (44, 43, 48), (66, 62, 62), cone=0.2),
        depth=0.55,
        head_radius=0.215,
        legs=(62, 54, 52),
        marks=_BLUEBIRD_MARKS,
    ),
    "black_capped_chickadee": Species(
        name="Black-capped Chickadee",
        main=(142, 146, 154),
        upper=(140, 142, 146),
        under=(240, 234, 224),
        head=(240, 238, 232),
        wing=Wing((122, 126, 134), (84, 88, 96), (218, 220, 222), bars=((0.46, (214, 216, 218), 0.03),)),
        tail=Tail(0.58, 0.085, (92, 96, 104), (196, 198, 202)),
        bill=Bill(0.3, 0.24, (34, 33, 38), (50, 48, 52), cone=0.5),
        depth=0.62,
        head_radius=0.255,
        leg=0.17,
        legs=(84, 92, 108),
        marks=_CHICKADEE_MARKS,
    ),
    "great_blue_heron": Species(
        name="Great Blue Heron",
        main=(112, 132, 160),
        upper=(116, 134, 160),
        under=(176, 184, 196),
        head=WHITE,
        wing=Wing((120, 138, 164), (72, 84, 108), (158, 172, 192)),
        tail=Tail(0.22, 0.1, (96, 112, 138), (136, 150, 172)),
        bill=Bill(3.3, 0.72, (226, 178, 62), (238, 196, 84), cone=0.0),
        depth=0.5,
        head_radius=0.1,
        leg=1.05,
        legs=(120, 108, 86),
        wader=True,
    ),
}
