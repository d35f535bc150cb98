from dataclasses import replace
from pathlib import Path

from operators.domain.drafts import DocumentKind
from operators.domain.ids import Revision
from operators.domain.messages import Patient
from operators.report.identity import DraftIdentity, algorithm_device_uid, identity_digest, tracking_uid
from tests.support.comparisons import comparison, comparison_without_prior, entity
from tests.support.drafts import NODE


def test_identity_changes_with_each_thing_it_stands_for(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    digests = {
        identity_digest(NODE, of, "a"),
        identity_digest(NODE, of, "b"),
        identity_digest(replace(NODE, uid_root="1.2.3"), of, "a"),
        identity_digest(NODE, replace(of, bundle=replace(of.bundle, sha256="f" * 64)), "a"),
        identity_digest(NODE, replace(of, current=replace(of.current, revision=Revision(2))), "a"),
        identity_digest(NODE, replace(of, search=replace(of.search, decisions=())), "a"),
    }
    assert len(digests) == 6


def test_identity_does_not_depend_on_what_was_found(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    assert identity_digest(NODE, of, "a") == identity_digest(NODE, replace(of, findings=of.findings[:1]), "a")


def test_every_document_of_a_draft_has_uids_of_its_own() -> None:
    identity = DraftIdentity(uid_root="2.25", digest="d")
    uids = [identity.instance_uid(kind) for kind in DocumentKind] + [identity.series_uid(kind) for kind in DocumentKind]
    assert len(set(uids)) == 2 * len(DocumentKind)


def test_entity_is_tracked_alike_in_a_study_and_in_its_follow_up(tmp_path: Path) -> None:
    follow_up = comparison(tmp_path)
    first = comparison_without_prior(tmp_path)
    assert first.current.patient == follow_up.current.patient
    later = replace(follow_up, current=replace(follow_up.current, revision=Revision(2)))
    effusion = entity("effusion")
    assert len({tracking_uid(NODE, each, effusion) for each in (follow_up, first, later)}) == 1


def test_entities_and_patients_are_tracked_apart(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    other = replace(of, current=replace(of.current, patient=Patient(patient_id="other")))
    uids = {
        tracking_uid(NODE, of, entity("effusion")),
        tracking_uid(NODE, of, entity("pneumothorax")),
        tracking_uid(NODE, other, entity("effusion")),
    }
    assert len(uids) == 3


def test_patients_without_an_id_are_never_taken_for_one(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    nobody = replace(of, current=replace(of.current, patient=Patient(patient_id="")))
    elsewhere = replace(nobody, current=replace(nobody.current, study_uid=of.search.decisions[0].study_uid))
    assert tracking_uid(NODE, nobody, entity("effusion")) != tracking_uid(NODE, elsewhere, entity("effusion"))


def test_device_uid_of_the_model_changes_with_a_retrain() -> None:
    assert algorithm_device_uid(NODE, "a" * 64) != algorithm_device_uid(NODE, "b" * 64)
