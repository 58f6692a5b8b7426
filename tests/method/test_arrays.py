import io

import numpy as np
import pytest

from weakpoints.method.arrays import npz
from weakpoints.method.detector import Detector
from weakpoints.options import choose

QUICK = {"patch": 14, "stride": 7}


def loaded(found: object) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(npz(found, '{"id": "写"}')), allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize(
    "options", [{}, {"fit": "letterbox"}, {"roi": (10, 20, 90, 70)}, {"colours": 1}]
)
def test_one_class_has_flat_arrays_as_the_localization_says(
    detector: Detector, photograph: np.ndarray, options: dict[str, object]
) -> None:
    found = detector.locate(photograph, choose(**QUICK, **options))
    arrays = loaded(found)
    for name in ("coarse", "fine", "fused"):
        assert arrays[name].dtype == np.float32
        np.testing.assert_array_equal(arrays[name], getattr(found.maps, name).astype(np.float32))
    assert arrays["drops"].dtype == arrays["standard_errors"].dtype == np.float32
    assert arrays["drops"].shape == arrays["standard_errors"].shape == (49,)
    assert np.isnan(arrays["standard_errors"]).all() == (found.options.colours == 1)
    assert arrays["boxes"].shape == (49, 4)
    assert arrays["targets"].tolist() == [found.target.class_id]
    assert str(arrays["answer"]) == '{"id": "写"}'
    points = np.array([[0, 0], [55, 0], [3.25, 40]])
    homogeneous = np.column_stack([points, np.ones(3)])
    np.testing.assert_allclose(
        homogeneous @ arrays["image_from_network"].T, found.frame.to_image(points), atol=1e-9
    )


def test_the_coarse_map_is_the_mean_of_the_drops_of_the_boxes_over_each_pixel(
    detector: Detector, photograph: np.ndarray
) -> None:
    arrays = loaded(detector.locate(photograph, choose(**QUICK)))
    for y, x in ((0, 0), (13, 40), (20, 20), (55, 55)):
        over = [
            drop
            for (left, top, width, height), drop in zip(
                arrays["boxes"], arrays["drops"], strict=True
            )
            if left <= x < left + width and top <= y < top + height
        ]
        assert arrays["coarse"][y, x] == pytest.approx(np.mean(over), rel=1e-5)


def test_several_classes_have_an_axis_of_their_own(
    detector: Detector, photograph: np.ndarray
) -> None:
    together = loaded(detector.locate(photograph, choose(target_class="dog,cat", **QUICK)))
    assert together["targets"].tolist() == [3, 2]
    assert together["boxes"].shape == (49, 4)
    for i, target in enumerate((3, 2)):
        alone = loaded(detector.locate(photograph, choose(target_class=target, **QUICK)))
        for name in ("coarse", "fine", "fused", "drops", "standard_errors"):
            np.testing.assert_allclose(together[name][i], alone[name], rtol=1e-4, atol=1e-6)
