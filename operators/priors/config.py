"""Settings of the priors stage: how the PACS is asked, and which of its studies are relevant."""

from dataclasses import dataclass, field
from pathlib import Path

from operators.domain import anatomy
from operators.domain.errors import ConfigError
from operators.domain.web_access import fault_of, is_web_url

CHEST_WORDS = (
    "CHEST",
    "CXR",
    "THORAX",
    "TORAX",
    "TORACE",
    "LUNG",
    "PULMO",
    "POUMON",
    "POLMON",
    "THORAC",
    "HRUDNIK",
    "ΘΩΡΑΚ",
    "ГРУДН",
    "胸",
)
"""How a chest is called in Body Part Examined and descriptions: beginnings of words, without accents."""

NOT_CHEST_WORDS = ("SPINE", "WIRBEL", "RACHIS", "COLUMNA", "COLONNE", "VERTEBR", "BWS", "TSPINE")
"""Beginnings of words beside which a chest word does not mean the chest: "thoracic spine"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceRule:
    """Which earlier studies are compared with a current study of some modality and body part.

    Attributes
    ----------
    name
        How the rule is called in sentences for people, for example "chest film".
    modalities
        Modalities of the current study that the rule serves (DICOM defined terms).
    prior_modalities
        Modalities a prior may have; those that are also in `modalities` count as the same modality.
    body_words
        Beginnings of words in Body Part Examined, or where that says nothing in the descriptions, that name the body
        part; in capitals, without accents. () means any body part.
    not_body_words
        Beginnings of words that take the meaning from a body word beside them.
    accept_unknown_body_part
        Whether a study that says nothing of its body part is taken to show this one.
    compares_views
        Whether views are matched: a prior known to hold only other views than the current study is left.
    max_age_days
        Oldest prior in days before the current study.
    whole_series
        Whether images are fetched a whole series at a time, as CT and MR are read.
    max_images
        Images fetched of one prior at most; of whole series, no further one is begun that would pass it.
    """

    name: str
    modalities: tuple[str, ...]
    prior_modalities: tuple[str, ...]
    body_words: tuple[str, ...] = ()
    not_body_words: tuple[str, ...] = ()
    accept_unknown_body_part: bool = False
    compares_views: bool = True
    max_age_days: int = 3650
    whole_series: bool = False
    max_images: int = 8

    def __post_init__(self) -> None:
        """Raise ConfigError for a rule that can never choose anything."""
        if not (self.name and self.modalities and self.prior_modalities):
            raise ConfigError("a rule in priors.rules needs name, modalities and prior_modalities")
        if self.max_age_days < 0 or self.max_images < 1:
            raise ConfigError(f"rule {self.name}: max_age_days must be 0 or more, max_images 1 or more")


FILMS = ("CR", "DX", "RG")
"""Projection radiographs: computed, digital, and digitised film (PS3.3 C.7.3.1.1.1)."""

CHEST_FILM = RelevanceRule(
    name="chest film",
    modalities=FILMS,
    prior_modalities=FILMS,
    body_words=CHEST_WORDS,
    not_body_words=NOT_CHEST_WORDS,
)
CHEST_CT = RelevanceRule(
    name="chest CT",
    modalities=("CT",),
    prior_modalities=("CT",),
    body_words=CHEST_WORDS,
    not_body_words=NOT_CHEST_WORDS,
    compares_views=False,
    whole_series=True,
    max_images=1200,
)
BRAIN_MR = RelevanceRule(
    name="brain MR",
    modalities=("MR",),
    prior_modalities=("MR",),
    body_words=anatomy.BRAIN,
    compares_views=False,
    whole_series=True,
    max_images=600,
)


def _ultrasound(name: str, body_words: tuple[str, ...]) -> RelevanceRule:
    """Rule for ultrasound of one organ: another organ is no prior."""
    return RelevanceRule(
        name=name,
        modalities=("US",),
        prior_modalities=("US",),
        body_words=body_words,
        compares_views=False,
        max_images=20,
    )


ULTRASOUND = (
    _ultrasound("breast ultrasound", anatomy.BREAST),
    _ultrasound("thyroid ultrasound", anatomy.THYROID),
    _ultrasound("abdominal ultrasound", anatomy.UPPER_ABDOMEN),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorsConfig:
    """Where priors come from and how they are chosen.

    Attributes
    ----------
    url
        Root of the PACS's DICOMweb services; empty: no PACS is asked, and every draft says so.
    qido_path, wado_path
        Paths of QIDO-RS and WADO-RS below the root, where the PACS has them apart.
    authentication
        none, basic (username, password) or bearer (token).
    client_certificate, client_key
        PEM files that identify this node to the PACS by TLS; the key may be in the certificate's file.
    ca_file
        PEM file of the authorities that may vouch for the PACS; None: the usual ones.
    connect_timeout_s, read_timeout_s
        Longest wait for a connection, and for the next bytes of an answer.
    page_size
        Answers asked for at a time.
    max_answers
        Answers of one query that are looked at; beyond, the search counts as incomplete.
    max_opened
        Candidates, most recent first, whose series and images are looked up.
    rules
        Relevance rules; the first that serves the current study is followed.
    max_priors
        Priors chosen and fetched at most; the first of them that can be read is compared with.
    trust_missing_issuer
        Whether a study is taken for the same patient's where only one side names the issuer of the patient ID. Even
        then birth dates must be there and agree.
    ask_former_ids
        Whether the PACS is asked for every identifier that was merged with the patient's, and not only for the study's
        own and the one in use now. A PACS that follows merges needs the latter alone.
    give_up_after_s
        Seconds since the first attempt after which a PACS that is away or refuses this node is no longer waited for.
    """

    url: str = ""
    qido_path: str = ""
    wado_path: str = ""
    authentication: str = "none"
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    client_certificate: Path | None = None
    client_key: Path | None = None
    ca_file: Path | None = None
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    page_size: int = 200
    max_answers: int = 2000
    max_opened: int = 50
    rules: tuple[RelevanceRule, ...] = (CHEST_FILM, CHEST_CT, BRAIN_MR, *ULTRASOUND)
    max_priors: int = 2
    trust_missing_issuer: bool = True
    ask_former_ids: bool = True
    give_up_after_s: float = 1800.0

    def __post_init__(self) -> None:
        """Raise ConfigError for a value that cannot be meant."""
        if self.url and not is_web_url(self.url):
            raise ConfigError("priors.url must be an http or https URL")
        if fault := fault_of(self, prefix="priors."):
            raise ConfigError(fault)
        if min(self.connect_timeout_s, self.read_timeout_s) <= 0:
            raise ConfigError("priors.connect_timeout_s and priors.read_timeout_s must be above 0")
        if min(self.page_size, self.max_answers, self.max_opened, self.max_priors) < 1:
            raise ConfigError("priors.page_size, max_answers, max_opened and max_priors must be 1 or more")
        if self.give_up_after_s < 0:
            raise ConfigError("priors.give_up_after_s must be 0 or more")
