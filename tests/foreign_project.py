"""A project of somebody else's, which knows nothing of this one, for tests of what is plugged into it."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Plain(LightningModule):
    """What a user writes who has never heard of this project."""

    def __init__(self, net):
        super().__init__()
        self.model = net

    def forward(self, inputs):
        return self.model(inputs)

    def training_step(self, batch):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def test_step(self, batch, batch_idx):
        self(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_data(*, seed=0, num=30):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(num, 6, generator=generator), torch.randint(0, 3, (num,), generator=generator))


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))


def make_trainer(*callbacks, max_epochs=1, **kwargs):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        **kwargs,
    )


def fit(monitor, module=None, **kwargs):
    module = module or Plain(make_net())
    trainer = make_trainer(monitor, **kwargs)
    trainer.fit(
        module, DataLoader(make_data(), batch_size=8, shuffle=True), DataLoader(make_data(seed=1), batch_size=8)
    )
    return trainer, module
