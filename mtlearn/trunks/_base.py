"""What every trunk does: build the torch module that all outputs share."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar, Self

from torch import nn

from mtlearn._params import Part
from mtlearn._typing import Array
from mtlearn.inputs import Inputs

__all__ = ["Trunk"]


class Trunk(Part, ABC):
    """The shared part of the network, from the features to the layers that heads attach to.

    A trunk is a specification: `build` returns a torch module that maps a batch of features to
    one tensor, or to a dict of named tensors, of shape (n_samples, n_units) each. Heads choose
    among named tensors with ``at=``. Their widths are found by a dry run.

    Subclasses store their parameters, declare ``_parameter_constraints`` and implement `build`.
    One that has to know more of the rows than their shape, such as the number of categories, learns
    it in `note`; one that has inner layers for heads to attach to implements `build_named`.

    Attributes
    ----------
    takes_integers : bool
        Whether it makes something of integers as they are, such as ids. To other parts a Graph
        gives them as floats. The zeros of its dry run are floats for all.
    """

    takes_integers: ClassVar[bool] = False

    def note(self, X: Array | Inputs, rows: Array | None = None) -> Self:  # noqa: ARG002
        """Learn what `build` needs to know of the training rows; here nothing.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features) or Inputs
            Rows, as checked arrays.
        rows : ndarray of shape (n_rows,), default=None
            Which of them take part in the training; None for all. X may be too large to be copied.
            Of a stream, `note` is told of the first piece only.

        Returns
        -------
        Self
            The trunk, with fitted attributes if there are any.
        """
        return self

    @property
    def differs_by_output(self) -> bool:
        """Whether outputs get tensors of their own; here not.

        `build_named` is then told the outputs, and its module has an attribute ``groups``, a dict
        from a name that heads know it by, None for heads that name none, to a dict of outputs to
        tensors by name. Built without outputs, it gives what one output would get.
        """
        return False

    @abstractmethod
    def build(self, n_features: Any) -> nn.Module:
        """Return a new torch module; torch's seed is already set.

        Parameters
        ----------
        n_features : int or dict of str to tuple of int
            The number of columns of X, or the shape of a row of each of its inputs. The module
            then takes a dict of tensors.

        Returns
        -------
        torch.nn.Module
            The module.
        """

    def build_named(
        self,
        n_features: Any,
        outputs: Collection[str] = (),  # noqa: ARG002
    ) -> nn.Module:
        """Return a module that gives its inner layers by name too, for heads that name one.

        It must have the parameters of what `build` makes, by the same names and with the same
        values for the same seed: an estimator takes `build` where no head names a tensor, and so
        after others were dropped, or have the weight 0. An attribute ``default`` of the module
        names the tensor for heads that name none, that of `build`.

        Parameters
        ----------
        n_features : int or dict of str to tuple of int
            As for `build`.
        outputs : collection of str, default=()
            The outputs that heads are made for, of interest where something differs by output.

        Returns
        -------
        torch.nn.Module
            The module; here that of `build`.
        """
        return self.build(n_features)
