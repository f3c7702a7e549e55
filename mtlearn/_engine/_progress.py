"""A progress bar over the epochs of a fit."""

from typing import Any

from skorch.callbacks import Callback
from tqdm import tqdm

__all__ = ["ProgressBar"]


class ProgressBar(Callback):
    """Show the epochs done, the time left at most, and the losses.

    skorch's own bar shows the batches of one epoch, and no time until the end.
    """

    is_stateless = True

    def on_train_begin(self, net: Any, **_kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(total=net.max_epochs, unit="epoch")

    def on_epoch_end(self, net: Any, **_kwargs: Any) -> None:
        """Move the bar."""
        row = net.history[-1]
        losses = {key: row[key] for key in ("train_loss", "valid_loss") if key in row}
        self.bar_.set_postfix({key: f"{loss:.3g}" for key, loss in losses.items()}, refresh=False)
        self.bar_.update()

    def on_train_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()
