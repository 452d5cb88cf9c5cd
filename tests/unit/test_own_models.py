"""A user's own code as a model: it is found without an import, built, and its errors are sentences."""

import copy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dreambirds.errors import UserError
from dreambirds.models import CONFIG_FILE
from dreambirds.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from dreambirds.models.classifier import build, head_parameters, probe
from dreambirds.models.inference import prepare_for_inference
from dreambirds.models.names import check_model_name, model_files

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, in_chans, width=8):
        super().__init__()
        self.head = nn.Linear(width, num_classes)  # registered first, runs last
        self.norm = nn.BatchNorm2d(width)
        self.stem = nn.Conv2d(in_chans, width, 3)
        self.same = nn.Conv2d(width, num_classes, 1)  # as many outputs as the head

    def forward(self, images):
        maps = self.norm(self.stem(images)).relu()
        self.same(maps)
        return {"features": maps, "logits": self.head(maps.mean(dim=(2, 3)))}

def build(num_classes, in_chans, width=8):
    return Net(num_classes, in_chans, width)

def positional(classes, channels, /, width=4):
    return Net(classes, channels, width)

def only_classes(classes, width=4):
    return Net(classes, 3, width)

def mixed(num_classes, channels):
    return Net(num_classes, channels)

def anything(**options):
    return Net(**options)

def grey(num_classes):
    return Net(num_classes, 1)

def fails(num_classes, in_chans):
    raise ZeroDivisionError("no\\nway")

def leaves(num_classes, in_chans):
    raise SystemExit(2)

def number(num_classes, in_chans):
    return num_classes

if True:
    from collections import OrderedDict as imported
chosen = build
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return a working folder with a module and a package."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    (tmp_path / "birdnet.py").write_text(NET)
    package = tmp_path / "mine" / "deep"
    package.mkdir(parents=True)
    (tmp_path / "mine" / "__init__.py").write_text("from mine import widths\n")
    (tmp_path / "mine" / "widths.py").write_text("WIDTH = 5\n")
    (package / "nets.py").write_text(
        "import birdnet\nfrom mine.widths import WIDTH\n\ndef build(num_classes, in_chans):\n"
        "    from mine import widths\n    return birdnet.build(num_classes, in_chans, widths.WIDTH)\n"
    )
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("birdnet", "mine"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("function", "options", "channels", "width"),
    [
        ("build", {}, 3, 8),
        ("build", {"in_chans": 1, "width": 2}, 1, 2),
        ("Net", {}, 3, 8),
        ("positional", {"in_chans": 1}, 1, 4),
        ("only_classes", {"width": 3}, 3, 3),
        ("mixed", {"in_chans": 1}, 1, 8),
        ("anything", {"width": 6}, 3, 6),
        ("grey", {}, 1, 8),
        ("chosen", {}, 3, 8),
    ],
)
def test_a_function_gets_the_classes_the_channels_and_the_options(folder, function, options, channels, width):
    name = f"birdnet:{function}"
    check_model_name(name)
    classifier = build(name, 5, options)
    probe(classifier, (16, 24), 5, options)
    assert classifier.channels == classifier.network.stem.in_channels == channels
    assert classifier.architecture == name and classifier.network.stem.out_channels == width
    assert [id(each) for each in head_parameters(classifier.network)] == list(
        map(id, classifier.network.head.parameters())
    ), "the layer with one output per class that runs last"
    assert copy.deepcopy(classifier).network.pretrained_cfg == classifier.network.pretrained_cfg
    frozen = prepare_for_inference(classifier.eval(), (16, 24), torch.device("cpu"))
    images = torch.rand(2, 3, 16, 24)
    assert torch.allclose(frozen(images), classifier(images), atol=1e-5)
    assert isinstance(frozen.network.norm, nn.Identity)


def test_files_of_own_code_count_as_inputs(folder):
    assert model_files("birdnet:build") == [Path("birdnet.py")]
    names = ["mine/__init__.py", "mine/deep/nets.py", "mine/widths.py"]
    assert list(map(str, model_files("mine.deep.nets:build"))) == names
    (outside,) = model_files("timm.models.resnet:ResNet")
    assert outside.is_absolute() and outside.name == "resnet.py"
    assert model_files("resnet18") == model_files("torchvision:resnet18") == model_files("hf-hub:a/b") == []
    assert build("mine.deep.nets:build", 2, {}).network.stem.out_channels == 5


def test_a_module_of_another_working_folder_is_not_used(folder, tmp_path, monkeypatch):
    build("birdnet:build", 2, {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "birdnet.py").write_text(NET.replace("width=8", "width=11"))
    monkeypatch.chdir(tmp_path / "other")
    assert build("birdnet:build", 2, {}).network.stem.out_channels == 11


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nonet:build", r"there is no module 'nonet'; write 'nonet\.py' in the working folder"),
        ("mine.deep.other:build", r"there is no module 'mine\.deep\.other'; write 'mine/deep/other\.py'"),
        ("birdnet:buiId", r"birdnet\.py' has no function 'buiId'; did you mean 'build'\?"),
        ("birdnet:forward", r"birdnet\.py' has no function 'forward'; "),
        ("bird net:build", r"'bird net:build' is not the name of a model; use a name of timm, hf-hub:user/name, "),
        ("birdnet.py:", r"'birdnet\.py:' is not the name of a model"),
        ("broken:build", r"broken\.py' is not valid Python \(line 2: .*\); correct it"),
    ],
)
def test_planning_refuses_own_code_that_does_not_exist(folder, name, sentence):
    (folder / "broken.py").write_text("def build(num_classes, in_chans):\n    return (\n")
    (folder / "mine" / "__init__.py").write_text("raise AssertionError('planning imports nothing')")
    with pytest.raises(UserError, match=sentence) as refused:
        check_model_name(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("birdnet:fails", {}, r"model: 'birdnet:fails' failed \(ZeroDivisionError: no\\nway, in line 36 of '.*birdnet"),
        ("birdnet:leaves", {}, r"model: 'birdnet:leaves' failed \(SystemExit: 2, in line 39 of"),
        ("birdnet:number", {}, r"model: 'birdnet:number' returned int instead of a torch\.nn\.Module; return the"),
        ("birdnet:build", {"depth": 2}, r"'birdnet:build' failed \(TypeError: .*unexpected keyword argument 'depth'"),
        ("birdnet:only_classes", {"in_chans": 1}, r"model_options: 'only_classes' takes no 'in_chans'; add it"),
        ("needy:build", {}, r"model: cannot import 'needy' \(ModuleNotFoundError: .*'nothing_like_it', in line 1 of"),
    ],
)
def test_errors_of_own_code_name_its_line(folder, name, options, sentence):
    (folder / "needy.py").write_text("import nothing_like_it\nbuild = 1\n")
    with pytest.raises(UserError, match=sentence) as refused:
        build(name, 3, options)
    assert "\n" not in str(refused.value)


def test_a_network_whose_forward_pass_fails_is_refused(folder):
    (folder / "birdnet.py").write_text(NET.replace("self.same(maps)", "self.different(maps)"))
    with pytest.raises(UserError, match=r"'birdnet:build' does not accept images of 16x16 pixels \(.*'different'"):
        probe(build("birdnet:build", 3, {}), (16, 16), 3)


def test_there_are_no_weights_to_download_for_own_code(folder):
    with pytest.raises(UserError, match="weights: there are no weights to download for 'birdnet:build'; set it to a f"):
        build("birdnet:build", 3, {}, "hub")


def test_weights_of_other_classes_get_a_new_head(folder):
    given = build("birdnet:build", 7, {}).network
    given.same = nn.Conv2d(8, 4, 1)
    path = str(folder / "weights.safetensors")
    save_file(given.state_dict(), path)
    network = build("birdnet:build", 4, {}, path).network
    assert torch.equal(network.stem.weight, given.stem.weight) and network.head.weight.shape == (4, 8)
    assert torch.equal(network.same.weight, given.same.weight), "only the head is new"
    with pytest.raises(UserError, match="has a head for 7 classes, not 4"):
        build("birdnet:build", 4, {}, path, new_head=False)


def test_a_checkpoint_of_own_code_is_read_unchanged(folder):
    normalization = {"mean": 0.25, "std": [0.5, 0.25, 0.125]}
    classifier = build("birdnet:build", 2, {"width": 3}, head="sigmoid", normalization=normalization).eval()
    info = CheckpointInfo("birdnet:build", {"width": 3}, ["a", "b"], "r", 1, [16, 24], "sigmoid", normalization)
    save_checkpoint(folder / "c", classifier, info)
    again, read = load_checkpoint(folder / "c")
    images = torch.rand(2, 3, 16, 24)
    assert (
        len(read.code) == 16
        and replace(read, code=None) == info
        and again.head == "sigmoid"
        and torch.equal(again(images), classifier(images))
    )
    by_hand = (images - 0.25) / torch.tensor([0.5, 0.25, 0.125]).view(3, 1, 1)
    assert torch.equal(classifier(images), classifier.network(by_hand)["logits"])
    assert '"architecture": "birdnet:build"' in (folder / "c" / CONFIG_FILE).read_text()
    (folder / "birdnet.py").unlink()
    with pytest.raises(UserError, match="contains the model 'birdnet:build', which cannot be built"):
        load_checkpoint(folder / "c")
