"""The gallery of a study whose targets are not all classes: its heading, and the photographs that excite them most."""

import json
import re
from dataclasses import replace

import pytest
from PIL import Image, ImageColor

from dreambirds.config.targets import list_targets
from tests.helpers.galleries import COLORS, build_gallery, gallery_plan

TARGETS = [
    {"layer": "75%", "channels": [0, 112, 12], "neurons": None, "directions": None, "between": None, "weights": None},
    {"layer": None, "channels": None, "neurons": None, "directions": None, "between": [0, 1], "weights": [0.5]},
]


def plan_of_targets(dreamt: int = 1, classes: int = 2, **changes):
    """Return a plan of the first classes, of three channels, and of an interpolation of two classes."""
    plan = gallery_plan(
        names=["Bruant à gorge blanche", *(f"Class {number}" for number in range(1, classes))], **changes
    )
    sections = [TARGETS[0], TARGETS[1] | {"between": [label.label for label in plan.labels[:2]]}]
    return replace(plan, dreamt=plan.labels[:dreamt], targets=list_targets(sections, plan.labels))


def page_of(gallery) -> tuple[str, dict]:
    """Return the text of the page, and its data."""
    page = (gallery / "index.html").read_text(encoding="utf-8")
    return page, json.loads(re.search(r'type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Return the folder of the gallery of a class, three channels and an interpolation of classes."""
    return build_gallery(plan_of_targets(), tmp_path_factory.mktemp("targets"))


def test_the_four_photographs_of_a_target_are_a_grid_of_their_checkpoint(gallery):
    for number, (run, epoch) in enumerate(
        (run, epoch) for run in ("first", "second") for epoch in ("0000", "0000.25", "0004")
    ):
        for position, label in enumerate(("channel0", "channel112", "channel12")):
            with Image.open(gallery / f"pictures/exciting/{run}/epoch-{epoch}/layer75_{label}.png") as grid:
                assert grid.size == (32, 32)
                found = [grid.getpixel((x, y)) for y in (8, 24) for x in (8, 24)]
            names = [COLORS[(rank + position + number) % len(COLORS)] for rank in range(4)]
            assert found == [ImageColor.getrgb(name) for name in names]
    assert len(list((gallery / "pictures" / "exciting").rglob("*.png"))) == 6 * 3
    assert [path.name for path in (gallery / "pictures" / "real").iterdir()] == ["class_0.png"]


def test_the_page_knows_which_labels_are_classes_and_the_classes_of_the_photographs(gallery):
    page, facts = page_of(gallery)
    between = "class_0_to_class_1_0500"
    assert facts["targets"] == ["layer75_channel0", "layer75_channel112", "layer75_channel12", between]
    assert set(facts["exciting"]) == {
        f"{run}/epoch-{epoch}" for run in ("first", "second") for epoch in ("0000", "0000.25", "0004")
    }
    of_one = facts["exciting"]["second/epoch-0000.25"]
    assert list(of_one) == facts["targets"][:3]
    assert [facts["classNames"][index] for index in of_one["layer75_channel0"]] == ["Photographs of <birds>"] * 4
    assert '<h2 id="classes-title">Targets</h2>' in page and 'id="search"' not in page
    assert "<birds>" not in page, "names are escaped"


def test_a_study_of_classes_is_shown_as_before(tmp_path):
    gallery = build_gallery(gallery_plan(epochs=[1], runs=["only"], recipes={"r": {"steps": [1]}}), tmp_path)
    page, facts = page_of(gallery)
    assert facts["exciting"] == {} and facts["targets"] == [] and not (gallery / "pictures/exciting").exists()
    assert '<h2 id="classes-title">Classes</h2>' in page and "<kbd>.</kbd> class" in page


@pytest.mark.parametrize(("classes", "searched"), [(8, False), (9, True)])
def test_more_than_twelve_labels_can_be_searched(tmp_path, classes, searched):
    plan = plan_of_targets(classes, classes, epochs=[1], runs=["only"], recipes={"r": {"steps": [1]}})
    page, facts = page_of(build_gallery(plan, tmp_path))
    assert len(facts["labels"]) == classes + 4 and ('id="search"' in page) == searched
