"""Where a network runs: the device that was asked for.

If it can't be had, one sentence says why.
"""

import torch

from app.errors import WeightsError


def chosen_device(asked: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as `cpu`, `cuda` or `cuda:N`.

    `auto` is a GPU where one can be used, else the CPU.
    Raises WeightsError where a GPU is asked for by name and there is none, or too old a driver.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cpu":
        return asked
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"WEAKPOINTS_DEVICE is {asked}, but no GPU can be used: {reason}"
        ) from error
    number = int(asked.partition(":")[2] or 0)
    if number >= count:
        raise WeightsError(
            f"WEAKPOINTS_DEVICE is {asked}, but there are {count} GPUs, counted from 0",
            limit=count - 1,
            actual=number,
        )
    return asked
