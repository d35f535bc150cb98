"""The pages: sign-in, the studies with what waits and why, one study with its drafted comparison."""

from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from app.overview import STATES, Overview
from app.web.access import require_session, rooms_of, signed_in
from app.web.guesses import hold_up
from app.web.showing import nearest, shown_day, shown_name
from app.web.signin import COOKIE, SESSION
from operators.domain.messages import ChangeState

router = APIRouter(include_in_schema=False)
_templates = Jinja2Templates(directory=FilePath(__file__).parent / "templates")
_templates.env.filters |= {"person": shown_name, "day": shown_day}

Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]
_PAGE = 50
_SIMILAR_SHOWN = 3
_ORDER = tuple(ChangeState(name) for name in ("new", "worse", "resolved", "better", "stable", "undetermined", "absent"))


def problem(request: Request, status: int, sentence: str, action: str = "") -> HTMLResponse:
    """Return a page that says what is wrong and what to do."""
    values = {"sentence": sentence, "action": action, "status": status}
    return _templates.TemplateResponse(request, "problem.html", values, status_code=status)


@router.get("/signin")
def signin_page(request: Request) -> Response:
    """Ask for the token."""
    if signed_in(request):
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)
    return _templates.TemplateResponse(request, "signin.html", {"wrong": False})


@router.post("/signin")
async def sign_in(request: Request, token: Annotated[str, Form(max_length=512)]) -> Response:
    """Begin a session; a wrong token is told after a pause."""
    rooms = rooms_of(request)
    if not rooms.signin.accepts_token(token.strip()):
        await hold_up(rooms, "form")
        return _templates.TemplateResponse(request, "signin.html", {"wrong": True}, status_code=HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    response.set_cookie(
        COOKIE,
        rooms.signin.session(rooms.clock.now()),
        max_age=int(SESSION.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/signout")
def sign_out() -> Response:
    """End the session in this browser."""
    response = RedirectResponse("/signin", HTTPStatus.SEE_OTHER)
    response.delete_cookie(COOKIE)
    return response


@router.get("/", dependencies=[Depends(require_session)])
def studies(
    request: Request,
    state: Annotated[str | None, Query()] = None,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Response:
    """List the studies."""
    overview: Overview = rooms_of(request).overview
    chosen = state if state in STATES else None
    rows = overview.studies(state=chosen, limit=_PAGE + 1, offset=(page - 1) * _PAGE)
    values = {
        "rows": rows[:_PAGE],
        "more": len(rows) > _PAGE,
        "page": page,
        "state": chosen,
        "counts": overview.count_by_state(),
        "form_token": _form_token(request),
    }
    return _templates.TemplateResponse(request, "studies.html", values)


@router.get("/studies/{study_uid}", dependencies=[Depends(require_session)])
def study(request: Request, study_uid: Uid) -> Response:
    """Show one study."""
    rooms = rooms_of(request)
    detail = rooms.overview.study(study_uid)
    if detail is None:
        return problem(request, HTTPStatus.NOT_FOUND, "No such study.")
    findings = detail.comparison.findings if detail.comparison else ()
    values = {
        "detail": detail,
        "findings": sorted(findings, key=lambda finding: (not finding.is_measured, _ORDER.index(finding.state))),
        "names": {finding.entity.index: finding.entity.name for finding in findings},
        "similar": nearest(detail.similar, _SIMILAR_SHOWN),
        "viewer_url": rooms.viewer_url.replace("{study_uid}", study_uid) if rooms.viewer_url else "",
        "form_token": _form_token(request),
    }
    return _templates.TemplateResponse(request, "study.html", values)


@router.get("/studies/{study_uid}/draft.pdf", dependencies=[Depends(require_session)])
def draft_pdf(request: Request, study_uid: Uid) -> Response:
    """Return the latest draft as a PDF."""
    pdf = rooms_of(request).overview.preview_pdf(study_uid)
    if pdf is None:
        return problem(request, HTTPStatus.NOT_FOUND, "There is no draft of this study.")
    return Response(pdf, media_type="application/pdf", headers={"Content-Disposition": "inline; filename=draft.pdf"})


@router.post("/studies/{study_uid}/{wish}", dependencies=[Depends(require_session)])
def change(request: Request, study_uid: Uid, wish: str, form_token: Annotated[str, Form()] = "") -> Response:
    """Retry or discard a parked study."""
    rooms = rooms_of(request)
    if not rooms.signin.accepts_form(request.cookies.get(COOKIE, ""), form_token):
        raise HTTPException(HTTPStatus.FORBIDDEN, "The form is not of this session.")
    wishes = {"retry": rooms.revisions.retry, "discard": rooms.revisions.discard}
    if wish not in wishes:
        return problem(request, HTTPStatus.NOT_FOUND, "There is no such action.")
    refused = wishes[wish](study_uid)
    if refused:
        return problem(request, HTTPStatus.CONFLICT, refused.sentence)
    return RedirectResponse(f"/studies/{study_uid}", HTTPStatus.SEE_OTHER)


def _form_token(request: Request) -> str:
    return rooms_of(request).signin.form_token(request.cookies.get(COOKIE, ""))
