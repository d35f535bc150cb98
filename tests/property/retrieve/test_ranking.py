"""Ranking against a plain reckoning by numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.domain.ids import InstanceUid, StudyUid
from operators.retrieve.ranking import Candidate, best_per_patient, needs_another_round, similar_cases

distances = st.sampled_from([-1e-9, 0.0, 0.25, 0.25 + 1e-12, 0.5, 1.0, 2.0, 2.000001]) | st.floats(0, 2)
drawn = st.lists(st.tuples(distances, st.integers(0, 5), st.integers(0, 99)), max_size=40, unique_by=lambda row: row[2])
limits = st.integers(1, 8)


def candidate(distance: float, owner: int, number: int) -> Candidate:
    return Candidate(
        entity_index=6,
        study_uid=StudyUid(f"2.25.7{number // 2}"),
        instance_uid=InstanceUid(f"2.25.{number:03d}"),
        patient_key=f"HOSP\x1f{owner}",
        distance_cosine=distance,
        presence_prob=0.5,
    )


@settings(deadline=None)
@given(rows=drawn, limit=limits)
def test_best_of_each_patient_as_numpy_finds_it(rows: list[tuple[float, int, int]], limit: int) -> None:
    ranked = best_per_patient([candidate(*row) for row in rows], limit)

    table = np.array(rows, dtype=[("distance", "f8"), ("owner", "i8"), ("number", "i8")])
    best = [
        np.sort(table[table["owner"] == owner], order=["distance", "number"])[0] for owner in np.unique(table["owner"])
    ]
    expected = sorted((float(row["distance"]), int(row["number"])) for row in best)[:limit]
    assert [(c.distance_cosine, int(c.instance_uid.split(".")[-1])) for c in ranked] == expected


@settings(deadline=None)
@given(rows=drawn, limit=limits, seed=st.integers(0, 2**32 - 1))
def test_order_of_the_rows_does_not_matter(rows: list[tuple[float, int, int]], limit: int, seed: int) -> None:
    candidates = [candidate(*row) for row in rows]
    shuffled = [candidates[place] for place in np.random.default_rng(seed).permutation(len(candidates))]

    assert best_per_patient(candidates, limit) == best_per_patient(shuffled, limit)


@settings(deadline=None)
@given(rows=drawn, limit=limits, portion=st.integers(1, 7))
def test_rounds_over_portions_find_what_one_look_at_everything_finds(
    rows: list[tuple[float, int, int]], limit: int, portion: int
) -> None:
    everything = sorted((candidate(*row) for row in rows), key=lambda c: (c.distance_cosine, c.instance_uid))

    fetched = everything[:portion]
    found = list(best_per_patient(fetched, limit))
    while needs_another_round(fetched, len(found), asked_rows=portion, limit=limit):
        known = {case.patient_key for case in found}
        fetched = [case for case in everything if case.patient_key not in known][:portion]
        found += best_per_patient(fetched, limit - len(found))

    assert tuple(found) == best_per_patient(everything, limit)


@settings(deadline=None)
@given(rows=drawn)
def test_scores_are_cosines_in_falling_order(rows: list[tuple[float, int, int]]) -> None:
    cases = similar_cases(best_per_patient([candidate(*row) for row in rows], 100))

    scores = [case.score_cosine for case in cases]
    assert all(-1 <= score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)
    assert [case.rank for case in cases] == list(range(len(cases)))


def test_distance_that_is_not_a_number_is_left_out() -> None:
    assert best_per_patient([candidate(float("nan"), 1, 1), candidate(0.5, 2, 2)], 5) == (candidate(0.5, 2, 2),)
