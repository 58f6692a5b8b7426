"""How often the network names the class of a photograph."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import BadOption, WeakpointsError
from app.method.detector import Detector
from app.method.image import decode
from app.options import Limits

Progress = Callable[[Iterable[Path]], Iterable[Path]]


@dataclass(frozen=True)
class Accuracy:
    """Shares in [0, 1]; top1_per_class is the mean over classes; failed are files that could not be read."""

    top1: float
    top5: float
    top1_per_class: float
    images: int
    side: int
    network: str
    failed: tuple[str, ...]


def accuracy(detector: Detector, folder: Path, progress: Progress) -> Accuracy:
    """Over a folder with one sub-folder a class, each named as the network's label. Raises BadOption for a name it does not know."""
    labels = detector.model.labels
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    unknown = [path.name for path in folders if path.name not in labels]
    if unknown or not folders:
        raise BadOption(
            f"the sub-folders of {folder} must be named as the network's labels; {', '.join(unknown[:5]) or 'there is none'}"
        )
    ranks: dict[str, list[int]] = {path.name: [] for path in folders}
    failed = []
    for file in progress([file for path in folders for file in sorted(path.iterdir())]):
        try:
            probabilities = detector.classify(decode(file.read_bytes(), Limits()))
        except (WeakpointsError, OSError) as error:
            failed.append(f"{file}: {error}")
            continue
        ranks[file.parent.name].append(
            int((probabilities > probabilities[labels.index(file.parent.name)]).sum())
        )
    every = np.concatenate([np.array(each, int) for each in ranks.values()])
    if not every.size:
        raise BadOption(f"no photograph in {folder} could be read")
    per_class = float(np.mean([np.mean(np.array(each) == 0) for each in ranks.values() if each]))
    return Accuracy(
        float(np.mean(every == 0)),
        float(np.mean(every < 5)),
        per_class,
        int(every.size),
        detector.model.side,
        detector.model.name,
        tuple(failed),
    )
