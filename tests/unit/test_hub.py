"""Pretrained weights by the hub's own protocol, from a server on this machine."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save

CHILD = """
import json, socket, sys, time, urllib.request
from dreambirds.errors import UserError
from dreambirds.models.classifier import build
time.sleep = lambda seconds: None  # the hub's client waits between its tries
told = {}
for name in sys.argv[1:]:
    if name.startswith("http"):
        urllib.request.urlopen(f"{name}/stop").read()
        while socket.socket().connect_ex(("127.0.0.1", int(name.rpartition(":")[2]))) == 0:
            pass
        continue
    try:
        model, _, classes = name.partition(":")
        network = build(model, int(classes or 2), {}, "hub").network
        head = network.get_classifier().weight
        whole = sum(value.double().sum().item() for value in network.state_dict().values())
        told[name] = [whole - head.double().sum().item() - network.get_classifier().bias.double().sum().item(), whole]
        told[name] += [list(head.shape), head.std().item()]
    except UserError as error:
        told[name] = str(error)
    except Exception as error:
        told[name] = f"not a sentence: {error!r}"
print(json.dumps(told))
"""

pytestmark = pytest.mark.slow


class Hub(http.server.ThreadingHTTPServer):
    """As much of the hub as a download needs: `files` by path, `cut` the paths whose answers end early."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.cut, self.asked = {}, set(), []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self):
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    """The answer to HEAD and GET."""

    def do_HEAD(self):
        self.server.asked.append(f"{self.command} {self.path}")
        content = self.server.files.get(self.path)
        if self.path == "/stop":
            threading.Thread(target=self.server.stop).start()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag" if content else "X-Error-Code", digest(content) if content else "EntryNotFound")
        self.end_headers()
        return content or b""

    def do_GET(self):
        content = self.do_HEAD()
        self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, *_):
        pass


def digest(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'


def place(name: str) -> str:
    """Return where the hub keeps a model's weights."""
    return f"/{timm.get_pretrained_cfg(name).hf_hub_id}/resolve/main/model.safetensors"


def ask(home: Path, *names: str, **more) -> dict:
    """Return what came of building models in a process of its own: the sum of their weights, or a sentence."""
    environment = {**os.environ, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", **more}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", CHILD, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return what each way to meet the hub told."""
    home, server = tmp_path_factory.mktemp("hub"), Hub()
    torch.manual_seed(3)
    networks = {name: timm.create_model(name) for name in ("test_resnet", "test_efficientnet", "test_vit")}
    for name, network in networks.items():
        server.files[place(name)] = save(network.state_dict())
    server.cut.add(place("test_vit"))
    server.files[place("test_convnext")] = bytes(5000)
    server.files["/stop"] = b"bye"
    models = ["test_resnet", "test_resnet:1000", "test_efficientnet", "test_vit", "test_convnext", "test_byobnet"]
    told = ask(home, *models, "darknet17", server.address, "test_nfnet", HF_ENDPOINT=server.address)
    whole = sum(value.double().sum().item() for value in networks["test_resnet"].state_dict().values())
    body = whole - sum(value.double().sum().item() for value in networks["test_resnet"].fc.state_dict().values())
    away = ask(home, "test_resnet", "test_byobnet", HF_ENDPOINT=server.address, HF_HUB_OFFLINE="1")
    return {**told, "body": body, "whole": whole, "asked": server.asked, "away": away}


def test_the_hubs_weights_are_those_that_it_serves_under_another_head(told):
    body, _, shape, _ = told["test_resnet"]
    assert body == pytest.approx(told["body"], rel=1e-9) and shape == [2, 96]
    assert told["test_efficientnet"][3] < 0.1, "timm's own begins at 0.25"
    assert told["test_resnet:1000"][1] == pytest.approx(told["whole"], rel=1e-9), "with as many classes it is the hub's"
    assert f"GET {place('test_resnet')}" in told["asked"]


@pytest.mark.parametrize(
    "name",
    ["test_byobnet", "test_nfnet", "test_vit", "test_convnext"],
    ids=["not found", "refused", "cut", "garbage"],
)
def test_a_hub_that_gives_no_weights_says_what_was_tried_and_what_else_there_is(told, name):
    sentence = str(told[name])
    assert sentence.startswith(f"weights: 'hub' can't be had for '{name}': tried 'timm/{name}.")
    assert "\n" not in sentence and ".safetensors or .pth file" in sentence and "HF_HUB_OFFLINE=1" in sentence


def test_a_model_without_pretrained_weights_says_so(told):
    assert told["darknet17"].startswith(
        "weights: timm has no pretrained weights of 'darknet17'; set weights to null or to a file"
    )


def test_without_a_network_the_cache_serves_and_an_empty_one_is_a_sentence(told):
    assert told["away"]["test_resnet"][0] == pytest.approx(told["body"], rel=1e-9)
    assert told["away"]["test_byobnet"].startswith(
        "weights: 'hub' can't be had for 'test_byobnet': tried 'timm/test_by"
    )
    assert "HF_HUB_OFFLINE" in told["away"]["test_byobnet"] and "\n" not in told["away"]["test_byobnet"]
