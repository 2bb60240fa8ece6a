"""Sum the counts of two gloo processes; run by test_two_processes.py. Prints one word a check and process."""

import tempfile
from pathlib import Path

import torch
from torch import distributed, multiprocessing, nn

from noisereg.metrics import ActivationCounter, ActivationSparsity, gather_parts, own_part


def check(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    activations = torch.randn(7, 3, 2, 1, generator=torch.Generator().manual_seed(0)).relu()
    labels = torch.arange(7) % 2
    alone = ActivationSparsity(num_classes=2, sync_on_compute=False)
    alone.update(activations, labels)

    shared = ActivationSparsity(num_classes=2)
    shared.update(activations[rank::2], labels[rank::2])
    same = all(torch.equal(value, shared.compute()[key]) for key, value in alone.compute().items())
    whole = shared.gathered()
    same = same and all(torch.equal(part, alone.metric_state[name]) for name, part in whole.metric_state.items())
    own = shared.samples.sum() == len(labels[rank::2])  # what was gathered is not added to what was seen here
    Path(folder, f"whole{rank}").write_text("whole" if same and own else f"{shared.compute()} {alone.compute()}")

    # Process 1 has seen nothing: neither the number of units nor, in a counter, the names of the layers.
    silent = ActivationSparsity(num_classes=2)
    net = nn.Sequential(nn.Identity(), nn.ReLU())
    counter = ActivationCounter(net, num_classes=2)
    if rank == 0:
        silent.update(activations, labels)
        with counter:
            counter.start_batch(labels)
            net(activations)
    states = [silent.gathered().metric_state, counter.gathered()["1"].metric_state]
    same = all(torch.equal(state[name], part) for name, part in alone.metric_state.items() for state in states)
    Path(folder, f"silent{rank}").write_text("silent" if same else str(states))

    mine = torch.tensor([0.1, 10.0]) * (rank + 1)
    parts = gather_parts(mine)
    same = torch.equal(parts, torch.tensor([[0.1, 10.0], [0.2, 20.0]])) and torch.equal(own_part(parts), mine)
    of_three = own_part(torch.tensor([[1.0], [2.0], [4.0]]))
    same = same and of_three.tolist() == ([7.0] if rank == 0 else [0.0])
    Path(folder, f"parts{rank}").write_text("parts" if same else f"{parts} {of_three}")

    torch.manual_seed(0)
    net, inputs = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.randn(7, 3)
    wrapped = nn.parallel.DistributedDataParallel(net)
    with ActivationSparsity.watching(wrapped) as counts:
        for batch in inputs[rank::2].split(2):
            wrapped(batch).sum().backward()
    (metric,) = counts.gathered().values()
    same = metric.fires.tolist() == [(net[0](inputs) > 0).sum(0).tolist()] and metric.samples.tolist() == [7]
    Path(folder, f"wrapped{rank}").write_text("wrapped" if same else str(metric.metric_state))
    distributed.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        # forked, so that they have the libraries; nothing of torch has run here yet
        multiprocessing.start_processes(check, args=(folder,), nprocs=2, start_method="fork")
        checks = ("whole", "silent", "parts", "wrapped")
        print(*(Path(folder, f"{name}{rank}").read_text() for name in checks for rank in (0, 1)))
