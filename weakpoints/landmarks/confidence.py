"""How probable it is that a landmark is within a tenth of the object's longer side.

A logistic regression (Platt 1999) on the clues of the finder. `benchmarks/fit_confidence.py` fitted
it on photographs of ducks and faces with 1, 3 and 5 references: whole, with a third of the object
cut away on either side, with little around the object, and of another class. docs/evaluation.md has
its calibration on other classes.
"""

import numpy as np
from numpy.typing import NDArray

from weakpoints.landmarks.clues import Clues

VISIBLE = 0.65  # below it a landmark is said not to be visible
SHORTEST = 1e-3  # extents: shorter distances say no more
# Of the features below, and the constant.
WEIGHTS = (0.63, 0.331, -0.629, -3.863, -2.603, 1.016, 0.786)
CONSTANT = -3.557


def features(clues: Clues) -> NDArray[np.float64]:
    """(L, 7): the clues on scales on which it adds up."""
    columns = (
        np.log(np.maximum(clues.height, 1e-6)),
        np.log(SHORTEST + 0.1 + clues.away),
        np.log(SHORTEST + 0.1 + clues.back),
        np.log(SHORTEST + 0.1 + clues.spread),
        np.log(SHORTEST + clues.unlike),
        np.log(0.02 + clues.edge),
        np.log(np.maximum(clues.references, 1)),
    )
    return np.stack(columns, 1)


def confidence_of(clues: Clues) -> NDArray[np.float64]:
    """(L,) in (0, 1)."""
    return np.asarray(1 / (1 + np.exp(-(features(clues) @ np.array(WEIGHTS) + CONSTANT))))
