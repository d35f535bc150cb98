"""Identity is a function: the same inputs name a draft alike, and whatever they are, the names are valid UIDs."""

import hypothesis.strategies as st
from hypothesis import given
from pydicom.uid import UID

from operators.domain.drafts import DocumentKind
from operators.report.identity import DraftIdentity

ROOTS = st.sampled_from(["2.25", "1.2.826.0.1.3680043.10.999", "1.2.3"])
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(root=ROOTS, digest=DIGESTS, kind=st.sampled_from(DocumentKind))
def test_uids_are_valid_and_the_same_every_time(root: str, digest: str, kind: DocumentKind) -> None:
    identity = DraftIdentity(uid_root=root, digest=digest)
    uid = identity.instance_uid(kind)
    assert UID(uid).is_valid
    assert uid.startswith(root + ".")
    assert uid == DraftIdentity(uid_root=root, digest=digest).instance_uid(kind)


@given(root=ROOTS, digests=st.lists(DIGESTS, min_size=2, max_size=2, unique=True))
def test_drafts_that_differ_share_no_uid(root: str, digests: list[str]) -> None:
    first, second = (DraftIdentity(uid_root=root, digest=digest) for digest in digests)
    of = [{each.instance_uid(DocumentKind.SR), each.series_uid(DocumentKind.SR)} for each in (first, second)]
    assert not of[0] & of[1]
