"""Time a step of torch-lucent or torch-dreams as they are shipped: inception_v4, a class's logit, 299 pixels.

Runs in a venv of its own, which `make bench` makes. As shipped, lucent shows the model 323 to 356 pixels (it pads), and
torch-dreams 149 to 358 each way (it scales at random).
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
    """Let lucent climb a class's logit."""
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
    """Let torch-dreams do the same."""
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
    """Print one line of JSON: the seconds of a step in the best round."""
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
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run(model, settings.steps)
        best = min(best, (time.perf_counter() - began) / settings.steps)
    print(json.dumps({"seconds_per_step": best}))


if __name__ == "__main__":
    main()
