"""/api/v1: studies, as JSON, behind a bearer token."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import TypeAdapter

from app.overview import StudyDetail, StudyRow
from app.web.access import require_token, rooms_of

router = APIRouter(prefix="/api/v1", tags=["studies"], dependencies=[Depends(require_token)])

State = Literal["receiving", "assembling", "queued", "working", "parked", "delivering", "done", "withdrawn"]
Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$", description="Study Instance UID")]

_ERRORS: dict[int | str, dict[str, object]] = {401: {"description": "No token"}, 503: {"description": "Database away"}}
_ROWS = TypeAdapter(tuple[StudyRow, ...])
_DETAIL = TypeAdapter(StudyDetail)


@router.get("/studies", responses=_ERRORS, response_model=list[StudyRow], summary="Studies, latest received first")
def studies(
    request: Request,
    state: Annotated[State | None, Query(description="only studies in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
) -> Response:
    """One row per study in its latest revision."""
    rows = rooms_of(request).overview.studies(state=state, limit=limit, offset=offset)
    return Response(_ROWS.dump_json(rows), media_type="application/json")


@router.get(
    "/studies/{study_uid}", responses={**_ERRORS, 404: {"description": "Unknown study"}}, summary="One study whole"
)
def study(request: Request, study_uid: Uid) -> Response:
    """States, priors with reasons, the drafted comparison, similar cases and what was sent where."""
    detail = rooms_of(request).overview.study(study_uid)
    if detail is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "No such study.")
    return Response(_DETAIL.dump_json(detail), media_type="application/json")


@router.post(
    "/studies/{study_uid}/retry", responses={**_ERRORS, 409: {"description": "Nothing is parked"}}, status_code=202
)
def retry(request: Request, study_uid: Uid) -> dict[str, str]:
    """Take a parked study up again."""
    refused = rooms_of(request).revisions.retry(study_uid)
    if refused:
        raise HTTPException(HTTPStatus.CONFLICT, refused.sentence)
    return {"status": "queued"}


@router.post("/studies/{study_uid}/discard", responses={**_ERRORS, 409: {"description": "Not parked"}}, status_code=202)
def discard(request: Request, study_uid: Uid) -> dict[str, str]:
    """Give a parked study up."""
    refused = rooms_of(request).revisions.discard(study_uid)
    if refused:
        raise HTTPException(HTTPStatus.CONFLICT, refused.sentence)
    return {"status": "withdrawn"}
