"""The fused engine makes two steps at a time: which two must not depend on how many replicas share a chunk."""

from functools import partial

import pytest
import torch
from replica_runs import Recipe, Replica, StackedTraining

from noisereg.datasets import Hypercube


@pytest.mark.parametrize("halve_every", [None, 1, 3])
@pytest.mark.parametrize("train_size", [20, 21])
def test_a_replica_alone_has_the_bits_of_one_among_others_in_shorter_chunks(monkeypatch, train_size, halve_every):
    monkeypatch.setattr("noisereg.engine.chunks._REPLICA_DRAWS", 100)
    data = partial(Hypercube, d=6, train_size=train_size, test_size=30)
    recipe = Recipe(data=data, halve_every=halve_every)
    replicas = [Replica(p=p, seed=seed) for p in (0.2, 0.5) for seed in range(4)]
    together = StackedTraining(replicas, recipe).run()
    alone = StackedTraining(replicas[-1:], recipe).run()
    assert torch.equal(together.weights(len(replicas) - 1), alone.weights(0))
