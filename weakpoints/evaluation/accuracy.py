"""How often the network names the class of a photograph."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weakpoints.errors import BadOption, WeakpointsError
from weakpoints.evaluation.photographs import folders_by_class
from weakpoints.evaluation.records import ProgressBar
from weakpoints.images.decode import decode, read_file
from weakpoints.method.detector import Detector
from weakpoints.options import Limits


@dataclass(frozen=True)
class Accuracy:
    """Shares in [0, 1].

    top1_per_class: the mean over classes.
    failed: files that could not be read.
    """

    top1: float
    top5: float
    top1_per_class: float
    images: int
    side: int
    network: str
    failed: tuple[str, ...]


def accuracy(detector: Detector, folder: Path, progress: ProgressBar) -> Accuracy:
    """Over a folder with one sub-folder a class, named by the network's label or index.

    Raises BadOption for a name that the network does not know.
    """
    classes = folders_by_class(folder, detector.model.labels)
    target_of = {file: target for target, files in classes.items() for file in files}
    ranks: dict[int, list[int]] = {target: [] for target in classes}
    failed = []
    for file in progress(list(target_of)):
        target = target_of[file]
        try:
            probabilities = detector.classify(decode(read_file(file, Limits()), Limits()))
        except (WeakpointsError, OSError) as error:
            failed.append(f"{file}: {error}")
            continue
        ranks[target].append(int((probabilities > probabilities[target]).sum()))
    every = np.array([rank for of_class in ranks.values() for rank in of_class])
    if not every.size:
        raise BadOption(f"no photograph in {folder} could be read")
    per_class = float(
        np.mean([np.mean(np.array(of_class) == 0) for of_class in ranks.values() if of_class])
    )
    return Accuracy(
        float(np.mean(every == 0)),
        float(np.mean(every < 5)),
        per_class,
        int(every.size),
        detector.model.side,
        detector.model.name,
        tuple(failed),
    )
