"""Time a step of torch-lucent or torch-dreams with default settings.

Both maximize a class's logit of inception_v4 at 299 pixels. Runs in a separate venv, which `make bench` creates. With
default settings, the model sees 323 to 356 pixels per side with lucent, which pads, and 149 to 358 with torch-dreams,
which scales randomly.
"""

import argparse
import contextlib
import io
import json
import time

import timm
import torch

SIDE, CLASS, CLASSES = 299, 3, 8


def lucent(model: torch.nn.Module, steps: int) -> None:
    """Maximize a class's logit with lucent."""
    from lucent.optvis import param, render

    render.render_vis(
        model,
        f"last_linear:{CLASS}",
        param_f=lambda: param.image(SIDE),
        thresholds=(steps,),
        progress=False,
        show_image=False,
    )


def torch_dreams(model: torch.nn.Module, steps: int) -> None:
    """Maximize a class's logit with torch-dreams."""
    from torch_dreams import Dreamer

    dreamer = Dreamer(model, quiet=True, device="cpu")
    dreamer.render(
        layers=[model.last_linear],
        width=SIDE,
        height=SIDE,
        iters=steps,
        custom_func=lambda outputs: -outputs[0][:, CLASS].mean(),
    )


def main() -> None:
    """Print one line of JSON: the seconds per step in the best round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["lucent", "torch-dreams"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    model = timm.create_model("inception_v4", num_classes=CLASSES).eval()
    run = {"lucent": lucent, "torch-dreams": torch_dreams}[settings.peer]
    best = float("inf")
    for _ in range(settings.rounds):
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run(model, settings.steps)
        best = min(best, (time.perf_counter() - started) / settings.steps)
    print(json.dumps({"seconds_per_step": best}))


if __name__ == "__main__":
    main()
