"""Patient identifiers (CX, HL7 v2.5.1 2.A.14): one repetition of PID-3 or MRG-1 enters, its parts leave as plain text.

Cut by hand: hl7apy escapes anew what it does not know, and drops what its tables of old versions lack (decision 18).
Identifiers of versions before 2.3 (CK, CM) hold id and authority at the same places.
"""

from dataclasses import dataclass

from operators.domain.hl7.message import Separators

_NULL = '""'
_CONTROLS = dict.fromkeys((*range(32), 127), " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """CX.1, the assigning authority as namespace (CX.4.1) and universal id (CX.4.2), and the type (CX.5)."""

    value: str
    namespace: str = ""
    universal_id: str = ""
    type_code: str = ""


def read_identifier(text: str, separators: Separators) -> Identifier:
    """Read one repetition. An HL7 null (two quotation marks) is empty; a component that is not there too."""

    def plain(part: str) -> str:
        # Control characters are taken out as they are of DICOM headers: a key's separator is one.
        said = separators.unescape(part).translate(_CONTROLS).strip()
        return "" if said == _NULL else said

    components = [*text.split(separators.component), "", "", "", "", ""]
    authority = [*components[3].split(separators.subcomponent), ""]
    return Identifier(
        value=plain(components[0]),
        namespace=plain(authority[0]),
        universal_id=plain(authority[1]),
        type_code=plain(components[4]),
    )
