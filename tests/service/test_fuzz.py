"""A short, seeded run of tests/fuzz.py; benchmarks/results/fuzz.json has the long one."""

from functools import partial
from itertools import islice

from app.decoding.pool import Decoders
from tests.fuzz import decoded, fuzz, mutants, sent
from tests.service import serving
from weakpoints.method.detector import Detector
from weakpoints.options import Limits


def test_mutated_images_are_images_or_refused_as_such() -> None:
    with Decoders(1, Limits()) as decoders:
        seen = fuzz(partial(decoded, decoders), 1500, seed=7)
    assert set(seen.outcomes) == {"decoded", "bad-image", "too-large", "unsupported-media-type"}
    assert min(seen.outcomes.values()) > 5, "every way out was taken"
    assert seen.growth_bytes < 50e6


def test_sent_to_the_service_they_never_make_it_fail(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        seen = fuzz(lambda data: sent(client, data), 150, seed=8)
        assert {"answered", "bad-image"} <= set(seen.outcomes)
        assert client.get("/readyz").status_code == 200
        assert 'status="500"' not in client.get("/metrics").text


def test_the_same_seed_makes_the_same_inputs() -> None:
    one, again, other = (list(islice(mutants(seed), 50)) for seed in (1, 1, 2))
    assert one == again != other
    assert len(set(one)) > 40
