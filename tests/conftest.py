"""One thread for every test and the processes it starts, as results depend on their number; and no call of W&B."""

import os

import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
