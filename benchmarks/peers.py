"""Other tools: torch-lucent, torch-dreams and Horama, which maximize the logit of a class.

Each function dreams with the tool's default settings, except for the size and the number of steps. The tools run in a
separate virtual environment, which `make bench` creates. They pass images that are normalized for ImageNet's networks.

As a program, this module times a step of a tool with inception_v4 at 299 pixels. With default settings, the model sees
323 to 356 pixels per side with lucent, which pads, and 149 to 358 with torch-dreams, which scales randomly.
"""

import argparse
import contextlib
import io
import json
import time
from functools import partial

import timm
import torch

SIDE, CLASS, CLASSES = 299, 3, 8
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
HORAMA_CROPS = 6  # per step, its default


def lucent(
    model: torch.nn.Module, layer: str, target: int, side: int, steps: int, input_side: int | None = None
) -> torch.Tensor:
    """Maximize a class's logit with lucent; return the image, (3, side, side) in [0, 1].

    `layer` is the name of the module that returns the logits. Views are resized to `input_side` pixels; if it is None,
    images below 224 pixels are enlarged to that.
    """
    from lucent.optvis import param, render

    (images,) = render.render_vis(
        model,
        f"{layer}:{target}",
        param_f=lambda: param.image(side),
        thresholds=(steps,),
        progress=False,
        show_image=False,
        fixed_image_size=input_side,
    )
    return torch.from_numpy(images[0]).permute(2, 0, 1)


def torch_dreams(model: torch.nn.Module, layer: str, target: int, side: int, steps: int) -> torch.Tensor:
    """Maximize a class's logit with torch-dreams; return the image, (3, side, side) in [0, 1].

    `layer` is the name of the module that returns the logits.
    """
    from torch_dreams import Dreamer

    dreamer = Dreamer(model, quiet=True, device="cpu")
    parameters = dreamer.render(
        layers=[model.get_submodule(layer)],
        width=side,
        height=side,
        iters=steps,
        custom_func=lambda outputs: -outputs[0][:, target].mean(),
    )
    return parameters.to_chw_tensor()


def horama(model: torch.nn.Module, target: int, side: int, steps: int) -> torch.Tensor:
    """Maximize a class's logit with Horama's Fourier method; return the image, (3, side, side) in [0, 1].

    Each step passes 6 crops through the model, each enlarged to `side`.
    """
    from horama import fourier

    image, _ = fourier(
        lambda views: model(views)[:, target].mean(),
        total_steps=steps,
        image_size=side,
        model_input_size=side,
        crops_per_iteration=HORAMA_CROPS,
        device="cpu",
    )
    return (image.detach() * STD + MEAN).clamp(0, 1)


def main() -> None:
    """Print one line of JSON: the seconds per step in the best round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["lucent", "torch-dreams"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    model = timm.create_model("inception_v4", num_classes=CLASSES).eval()
    tool = {"lucent": lucent, "torch-dreams": torch_dreams}[settings.peer]
    run = partial(tool, model, "last_linear", CLASS, SIDE, settings.steps)
    best = float("inf")
    for _ in range(settings.rounds):
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run()
        best = min(best, (time.perf_counter() - started) / settings.steps)
    print(json.dumps({"seconds_per_step": best}))


if __name__ == "__main__":
    main()
