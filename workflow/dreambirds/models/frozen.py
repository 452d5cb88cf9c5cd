"""Make a classifier ready to dream: frozen, its batch norms folded into convolutions, laid out for the processor."""

import copy
import logging

import torch
from torch import nn
from torch.fx.experimental import optimization

from dreambirds.models.build import Classifier

TOLERANCE = 1e-4
log = logging.getLogger(__name__)


def freeze(classifier: Classifier, size: int, device: torch.device) -> Classifier:
    """Return a copy for images of (size, size) that computes the same logits faster, and no gradient of its own.

    Batch norms are folded into the convolutions before them where the graph can be traced and the logits stay within
    1e-4 of their scale; else the network is left as it is.
    """
    frozen = copy.deepcopy(classifier).eval()
    frozen.network = _folded(frozen, size)
    return frozen.to(device, memory_format=torch.channels_last).requires_grad_(False)


def _folded(classifier: Classifier, size: int) -> nn.Module:
    try:
        network = optimization.fuse(classifier.network)
    except Exception as error:  # tracing arbitrary models fails in as many ways as there are models
        log.debug("batch norms stay: %s", error)
        return classifier.network
    probe = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    normalised = (probe - classifier.mean) / classifier.std
    with torch.no_grad():
        expected, got = classifier.network(normalised), network(normalised)
    if (expected - got).abs().max() > TOLERANCE * expected.abs().max().clamp(min=1):
        log.debug("batch norms stay: folding them changes the logits")
        return classifier.network
    return network
