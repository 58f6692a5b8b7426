"""Windows or whole maps: by the products that windows save, and by a short trial where it is close.

The trial counts the processor's time of one thread, which a busy neighbour hardly changes.
"""

import time

from weakpoints.engine.paths import Tried
from weakpoints.engine.spans import Corners
from weakpoints.engine.threads import pool
from weakpoints.engine.windows.form import WindowsForm, pieces
from weakpoints.networks.network import Network

CLEAR = 1.5  # times fewer products: windows are quicker, whatever their cuts cost,
LEAST = 1.05  # and below this they are not
BOXES = 12  # of the trial, side by side: a chunk of a default detection; few pay more for calls,
PRODUCTS = 5e9  # but where whole maps of so many would take longer, calls cost next to nothing
TIMES = 2  # of which the quicker counts,
SURE = 2.0  # but once is enough for windows that are so much quicker


def chosen(network: Network, budget: int, side: int, box: int) -> tuple[WindowsForm, Tried]:
    """The quicker of the two on a CPU, for boxes of that side, and what was found."""
    windows = WindowsForm(network, budget)
    corners = _corners(side, box, BOXES)
    products = windows.products(side, box, corners)
    saved = products.full / max(products.computed, 1)
    if saved >= CLEAR:
        return windows, Tried("windows", on=True, gain=saved)
    if saved <= LEAST:
        why = f"they save {saved:.2f} times the products"
        return WindowsForm(network, budget, windows=False), Tried("windows", on=False, why=why)
    whole = WindowsForm(network, budget, windows=False)
    corners = _corners(side, box, max(1, min(BOXES, int(PRODUCTS * BOXES / products.full))))
    took, gain = list[tuple[float, float]](), 0.0
    while len(took) < TIMES and gain < SURE:
        took.append((_seconds(windows, side, box, corners), _seconds(whole, side, box, corners)))
        by_windows, by_whole = map(min, zip(*took, strict=True))
        gain = by_whole / by_windows
    if gain > 1:
        return windows, Tried("windows", on=True, gain=gain)
    why = f"they save {saved:.2f} times the products, and took {1 / gain:.2f} times as long"
    return whole, Tried("windows", on=False, why=why)


def _corners(side: int, box: int, count: int) -> Corners:
    """Across the middle of the picture, from edge to edge."""
    top, far = (side - box) // 2, side - box
    if count == 1:
        return ((top, far // 2),)
    return tuple((top, far * i // (count - 1)) for i in range(count))


def _seconds(form: WindowsForm, side: int, box: int, corners: Corners) -> float:
    """Of the processor, in a thread that starts no others."""
    x = form.like.new_zeros(1, 3, side, side)
    colours = form.like.new_ones(len(corners), 3)

    def work(form: WindowsForm) -> float:
        start = time.thread_time()
        for first, stop in pieces(corners, form.chunk):
            form.logits_of_chunk(x, corners[first:stop], box, colours[first:stop])
        return time.thread_time() - start

    with pool(1, apart=True) as in_threads:
        (seconds,) = in_threads(work, [form])
    return seconds
