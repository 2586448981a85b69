"""Means over what is seen in several micro-batches."""

from __future__ import annotations

from torch import Tensor


class Tally:
    """Sums of token statistics, each divided in the end by the number of tokens it was seen on.

    Sums stay tensors until `means` is called, so that an accelerator need not stop for them.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, **values_N: Tensor) -> None:
        """Take in a statistic's values, one a token, shape [N]."""
        for name, values in values_N.items():
            total = values.detach().double().sum()
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] = self._counts.get(name, 0) + values.numel()

    def merge(self, other: Tally) -> None:
        """Take in all that another has seen."""
        for name, total in other._sums.items():
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] = self._counts.get(name, 0) + other._counts[name]

    def means(self) -> dict[str, float]:
        """The mean of each statistic over all tokens it was seen on."""
        return {name: float(total) / max(self._counts[name], 1) for name, total in self._sums.items()}
