"""The training of one network, as a part of a fit with a checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skorch.callbacks import Callback

from mtlearn._engine._checkpoint import CheckpointRun, unusable
from mtlearn._engine._net_state import net_state, put_net_state
from mtlearn._pausing import ask
from mtlearn._plain_files import BROKEN
from mtlearn._torch_state import suspended_settings

__all__ = ["EpochStart", "KeptTraining"]


@dataclass(frozen=True)
class EpochStart:
    """One of several trainings is about to begin an epoch; it waits until all of them are.

    Parameters
    ----------
    keep : callable
        What to do then, once.
    """

    keep: Callable[[], None]

    @property
    def n_bytes(self) -> int:
        """About how much memory is held for it."""
        return 0


class KeptTraining(Callback):
    """A training whose state is kept whenever an epoch begins and it is time.

    Parameters
    ----------
    run : CheckpointRun
        The fit that it belongs to.
    name : str
        Its name there.
    """

    is_stateless = True
    needs_batches = False

    def __init__(self, run: CheckpointRun, name: str) -> None:
        self.run: Any = run
        self.name = name

    def restore(self, net: Any) -> int:
        """Put a net that begins into the state that was kept; return the epochs that are left.

        Raises
        ------
        ValueError
            If it is not the state of such a net.
        """
        net.can_be_stacked &= self.run.has_several  # beside others that are there every time
        if self.name not in self.run.saved:
            return net.max_epochs
        try:
            return put_net_state(net, self.run.saved[self.name])
        except BROKEN as error:
            raise unusable(self.run.checkpoint, error) from error

    def on_epoch_begin(self, net: Any, **_kwargs: Any) -> None:
        """Keep what the last epoch has left, if it is time, once all trainings are there."""
        if self.run.is_due:
            self.run.put(self.name, net_state(net, has_ended=False))
        if self.run.has_several:
            with suspended_settings():
                ask(EpochStart(self.run.keep))
        else:
            self.run.keep()

    def end(self, net: Any) -> None:
        """Take note of the last state, for trainings that go on; of no net, it learned nothing."""
        if self.run.has_several:
            self.run.put(self.name, None if net is None else net_state(net, has_ended=True))

    def on_train_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Let go of the states; the net outlives the fit."""
        self.run = None
