"""Splits keep patients whole, whatever the patients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.shared.splits import split_patients

SHARES = {"test": 0.3, "train": 0.7}
PATIENTS = st.dictionaries(
    st.from_regex(r"P[0-9]{1,4}", fullmatch=True), st.sampled_from("abc"), min_size=1, max_size=60
)


@given(PATIENTS, st.integers(0, 9), st.data())
def test_inseparable_patients_are_together(strata: dict[str, str], seed: int, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(strata))
    pairs = data.draw(st.lists(st.tuples(names, names), max_size=10))
    splits = split_patients(strata, shares=SHARES, seed=seed, inseparable=pairs)
    assert set(splits) == set(strata)
    assert all(splits[one] == splits[other] for one, other in pairs)


@given(PATIENTS, st.integers(0, 9))
def test_the_order_of_the_patients_does_not_matter(strata: dict[str, str], seed: int) -> None:
    backwards = dict(reversed(strata.items()))
    assert split_patients(strata, shares=SHARES, seed=seed) == split_patients(backwards, shares=SHARES, seed=seed)


@given(PATIENTS, st.integers(0, 9))
def test_shares_are_met_to_within_one_patient(strata: dict[str, str], seed: int) -> None:
    splits = split_patients(strata, shares=SHARES, seed=seed)
    tested = sum(split == "test" for split in splits.values())
    assert abs(tested - 0.3 * len(strata)) <= 1


@given(st.integers(0, 50))
def test_each_stratum_is_shared_out(seed: int) -> None:
    strata = {f"P{number}": "rare" if number < 20 else "common" for number in range(100)}
    splits = split_patients(strata, shares=SHARES, seed=seed)
    rare = sum(splits[f"P{number}"] == "test" for number in range(20))
    assert 5 <= rare <= 7


def test_a_pair_with_an_unknown_patient_is_ignored() -> None:
    assert set(split_patients({"P1": "a"}, shares=SHARES, seed=0, inseparable=[("P1", "P9")])) == {"P1"}


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.2, "test": -0.2}])
def test_shares_that_are_no_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        split_patients({"P1": "a"}, shares=shares, seed=0)
