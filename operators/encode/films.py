"""Radiographs: a study enters, its films that the model can read leave, best first."""

from functools import partial

from models.encoder.engine import FamilyInfo
from operators.domain.messages import Study
from operators.domain.radiograph import projection_of
from operators.encode.planes import read_plane
from operators.encode.reading import Candidate, Choice, Shown
from operators.encode.views import choose_views

_FRAME_NUMBER = 1


class FilmReader:
    """Reads one frontal film of a study; of a prior, one in the projection of the current film."""

    def __init__(self, family: FamilyInfo, max_frame_px: int) -> None:
        self._family = family
        self._max_frame_px = max_frame_px

    def choose(self, study: Study, like: Shown | None) -> Choice:
        """Sort the study's films. Raises nothing: headers alone are looked at."""
        prefer = projection_of(like.image.header) if like else None
        views = choose_views(study, self._family.dicom_modalities, prefer=prefer)
        side_px = self._family.input_side_px
        candidates = tuple(
            Candidate(images=(image,), read=partial(read_plane, image, _FRAME_NUMBER, side_px, self._max_frame_px))
            for image in views.candidates
        )
        return Choice(candidates=candidates, skipped=views.skipped, why_none=views.why_none)
