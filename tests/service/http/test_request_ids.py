import pytest

from app.service.http.request_ids import request_id_of


def test_a_harmless_id_of_the_caller_is_taken_over() -> None:
    assert request_id_of({"x-request-id": "Order-7.a_b"}) == "Order-7.a_b"


@pytest.mark.parametrize("asked", ["", "a b", "x" * 129, "a\nb", "é"])
def test_any_other_id_is_replaced_by_a_new_one_each_time(asked: str) -> None:
    one, two = (request_id_of({"x-request-id": asked}) for _ in range(2))
    assert one != two
    assert len(one) == len(two) == 32
