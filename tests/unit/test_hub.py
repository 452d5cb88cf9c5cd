"""Pretrained weights downloaded by the hub's protocol from a local server."""

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
from dreambirds.config.class_names import head_rows
from dreambirds.data.labels import Label
from dreambirds.errors import UserError
from dreambirds.models.classifier import build
from dreambirds.models.networks import stored_class_names
time.sleep = lambda seconds: None  # the hub's client waits between its tries
found = {}
for name in sys.argv[1:]:
    if name.startswith("http"):
        urllib.request.urlopen(f"{name}/stop").read()
        while socket.socket().connect_ex(("127.0.0.1", int(name.rpartition(":")[2]))) == 0:
            pass
        continue
    if name == "rows":
        labels = [Label("a", "A"), Label("b", "B"), Label("c", "C")]
        run = {"model": "hf-hub:user/three", "weights": "hub", "labels": None, "names": {}}
        rows, origin = head_rows(labels, run, stored_class_names(run["model"]))
        found[name] = [origin, build(run["model"], 3, {}, "hub", rows=rows).network.fc.bias.tolist()]
        continue
    try:
        model, _, classes = name.rpartition(":") if name[-1].isdigit() and ":" in name else (name, "", "")
        network = build(model, int(classes or 2), {}, "hub").network
        head = network.get_classifier().weight
        total = sum(value.double().sum().item() for value in network.state_dict().values())
        found[name] = [total - head.double().sum().item() - network.get_classifier().bias.double().sum().item(), total]
        found[name] += [list(head.shape), head.std().item()]
    except UserError as error:
        found[name] = str(error)
    except Exception as error:
        found[name] = f"not a sentence: {error!r}"
print(json.dumps(found))
"""

pytestmark = pytest.mark.slow


class Hub(http.server.ThreadingHTTPServer):
    """The part of the hub that a download needs.

    `files` are contents by path; `cut` are the paths whose responses end early.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.cut, self.requests = {}, set(), []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self):
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    """Responses to HEAD and GET."""

    def do_HEAD(self):
        self.server.requests.append(f"{self.command} {self.path}")
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


def path_of(name: str) -> str:
    """Return the path of a model's weights on the hub."""
    return f"/{timm.get_pretrained_cfg(name).hf_hub_id}/resolve/main/model.safetensors"


def build_models(home: Path, *names: str, **more) -> dict:
    """Build models in a separate process; return the sum of the weights of each, or the error."""
    environment = {**os.environ, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", **more}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", CHILD, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the results for each behavior of the hub."""
    home, server = tmp_path_factory.mktemp("hub"), Hub()
    torch.manual_seed(3)
    networks = {name: timm.create_model(name) for name in ("test_resnet", "test_efficientnet", "test_vit")}
    for name, network in networks.items():
        server.files[path_of(name)] = save(network.state_dict())
    repository = home / "repository"
    timm.models.save_for_hf(networks["test_resnet"], repository, {"label_names": ["a"]}, safe_serialization=True)
    for name in ("config.json", "model.safetensors"):
        server.files[f"/user/birds/resolve/main/{name}"] = (repository / name).read_bytes()
    three = timm.create_model("test_resnet", num_classes=3)
    timm.models.save_for_hf(three, home / "three", {"label_names": ["c", "a", "b"]}, safe_serialization=True)
    for name in ("config.json", "model.safetensors"):
        server.files[f"/user/three/resolve/main/{name}"] = (home / "three" / name).read_bytes()
    server.cut.add(path_of("test_vit"))
    server.files[path_of("test_convnext")] = bytes(5000)
    server.files["/stop"] = b"bye"
    models = ["test_resnet", "test_resnet:1000", "test_efficientnet", "test_vit", "test_convnext", "test_byobnet"]
    models += ["hf-hub:user/birds", "hf_hub:user/birds:1000", "hf-hub:user/none", "rows"]
    results = build_models(home, *models, "darknet17", server.address, "test_nfnet", HF_ENDPOINT=server.address)
    total = sum(value.double().sum().item() for value in networks["test_resnet"].state_dict().values())
    body = total - sum(value.double().sum().item() for value in networks["test_resnet"].fc.state_dict().values())
    away = build_models(home, "test_resnet", "test_byobnet", HF_ENDPOINT=server.address, HF_HUB_OFFLINE="1")
    return {
        **results,
        "three": three.fc.bias.tolist(),
        "body": body,
        "total": total,
        "requests": server.requests,
        "away": away,
    }


def test_the_hubs_weights_are_loaded_below_a_new_head(results):
    body, _, shape, _ = results["test_resnet"]
    assert body == pytest.approx(results["body"], rel=1e-9) and shape == [2, 96]
    assert results["test_efficientnet"][3] < 0.1, "timm initializes it with 0.25"
    assert results["test_resnet:1000"][1] == pytest.approx(results["total"], rel=1e-9), "the hub's head is kept"
    assert f"GET {path_of('test_resnet')}" in results["requests"]


def test_a_repository_of_the_hub_brings_its_architecture_and_weights(results):
    body, _, shape, _ = results["hf-hub:user/birds"]
    assert body == pytest.approx(results["body"], rel=1e-9) and shape == [2, 96]
    assert results["hf_hub:user/birds:1000"][1] == pytest.approx(results["total"], rel=1e-9)
    sentence = results["hf-hub:user/none"]
    assert sentence.startswith("model: cannot download 'config.json' of 'hf-hub:user/none' (") and "\n" not in sentence


def test_the_rows_of_the_head_follow_the_class_names_on_the_hub(results):
    c, a, b = results["three"]
    assert results["rows"] == ["'hf-hub:user/three'", [a, b, c]]


@pytest.mark.parametrize(
    "name",
    ["test_byobnet", "test_nfnet", "test_vit", "test_convnext"],
    ids=["not found", "refused", "cut", "garbage"],
)
def test_a_failed_download_names_the_source_and_the_alternatives(results, name):
    sentence = str(results[name])
    assert sentence.startswith(f"weights: cannot download the weights of '{name}' from 'timm/{name}.")
    assert "\n" not in sentence and ".safetensors or .pth file" in sentence and "HF_HUB_OFFLINE=1" in sentence


def test_a_model_without_pretrained_weights_is_an_error(results):
    assert results["darknet17"].startswith(
        "weights: timm has no pretrained weights for 'darknet17'; set 'weights' to null or a file"
    )


def test_without_a_network_the_cache_is_used_and_an_empty_one_is_an_error(results):
    assert results["away"]["test_resnet"][0] == pytest.approx(results["body"], rel=1e-9)
    assert results["away"]["test_byobnet"].startswith(
        "weights: cannot download the weights of 'test_byobnet' from 'timm/test_by"
    )
    assert "HF_HUB_OFFLINE" in results["away"]["test_byobnet"] and "\n" not in results["away"]["test_byobnet"]
