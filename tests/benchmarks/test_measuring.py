import json

import torch

from benchmarks import measuring
from noisereg.models import TwoLayer


def test_both_peers_find_the_same_numbers():
    models, data = [TwoLayer((60,), 1, hidden=240, seed=seed) for seed in range(4)], measuring.draw(2, share=0.01)
    with torch.no_grad():
        one_by_one, at_once = measuring._measure_in_loop(models, data), measuring._measure_by_vmap(models, data)
    train_and_test = torch.stack(one_by_one).view(2, 2, 2, 3).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(torch.stack(at_once), train_and_test)


def test_a_row_is_printed_for_each_peer_and_ours_beside_it(tmp_path, capsys):
    arguments = ["--networks", "2", "--rounds", "1", "--share", "0.01", "--threads", "1"]
    measuring.main([*arguments, "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row.get("peer") for row in found] == [None, None, None, "loop", "vmap", "product"]
    assert "us each" in capsys.readouterr().out
