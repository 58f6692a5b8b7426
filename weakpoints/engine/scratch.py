"""Memory that is used again: fresh pages cost more than the arithmetic on them."""

from math import prod

from torch import Tensor

# bytes: glibc gives back at once what is larger, and keeps what is smaller;
# untouched pages are free
LARGE = 32 * 2**20


class Scratch:
    """Memory by name, kept from layer to layer and chunk to chunk.

    triton: whether the Triton kernels may work on it.
    """

    def __init__(self, like: Tensor, *, triton: bool = True) -> None:
        self._like, self._held = like, dict[str, Tensor]()
        self.triton = triton

    def take(self, name: str, *shape: int) -> Tensor:
        """Not initialised, and the same memory each time."""
        size = prod(shape)
        if name not in self._held or self._held[name].numel() < size:
            self._held.pop(name, None)
            least = 0 if self._like.is_cuda else LARGE // self._like.itemsize + 1
            self._held[name] = self._like.new_empty(max(size, least))
        return self._held[name][:size].view(shape)

    def forget(self) -> None:
        """Give the memory back."""
        self._held.clear()
