"""Istio's Bookinfo: productpage asks details and reviews, reviews v2 and v3 ask ratings; each a server on 9080.

The calls go through the Services' names with DETAILS_HOSTNAME, REVIEWS_HOSTNAME, RATINGS_HOSTNAME and SERVICES_DOMAIN
as in the originals, so that routing, policies and failures show as they do there.
Source: https://github.com/istio/istio/tree/master/samples/bookinfo. Leaves out: passwords, tracing headers, databases.
"""

import asyncio
import html
import json
from typing import TYPE_CHECKING, Any

from minikube_py.images.container import Container
from minikube_py.images.reference import Reference
from minikube_py.images.web import serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = tuple(f"*/examples-bookinfo-{name}*" for name in ("productpage", "details", "reviews", "ratings"))

_PORT = 9080
_TIMEOUT = 3.0
"""Seconds, as productpage waits for details and reviews."""

_DETAILS = {
    "id": 0,
    "author": "William Shakespeare",
    "year": 1595,
    "type": "paperback",
    "pages": 200,
    "publisher": "PublisherA",
    "language": "English",
    "ISBN-10": "1234567890",
    "ISBN-13": "123-1234567890",
}
_PRODUCT = {
    "id": 0,
    "title": "The Comedy of Errors",
    "descriptionHtml": "A play by William Shakespeare: two pairs of twins, one city, one day.",
}
_REVIEWS = (
    ("Reviewer1", "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!"),
    ("Reviewer2", "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by "
                  "Shakespeare."),
)  # fmt: skip
_COLOURS = {"v2": "black", "v3": "red"}


def _url(container: Container, service: str, path: str) -> str:
    domain = container.env.get("SERVICES_DOMAIN", "")
    host = container.env.get(f"{service.upper()}_HOSTNAME") or (f"{service}.{domain}" if domain else service)
    return f"http://{host}:{container.env.get(f'{service.upper()}_SERVICE_PORT') or _PORT}{path}"


async def _ask(container: Container, service: str, path: str, user: str = "") -> tuple[int, Any]:
    """Return the status and the JSON of another service; 503 with the reason if it can't be had.

    Who is logged in goes along as `end-user`, by which a mesh may route.
    """
    import aiohttp

    url = _url(container, service, path)
    try:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        headers = {"end-user": user} if user else {}
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        container.print(f"{url}: {type(error).__name__}: {error}")
        return 503, {"error": f"Sorry, product {service} are currently unavailable for this book."}


async def _reviews(container: Container, book: str, version: str) -> dict[str, Any]:
    reviews: list[dict[str, Any]] = [{"reviewer": who, "text": text} for who, text in _REVIEWS]
    if version in _COLOURS:
        status, found = await _ask(container, "ratings", f"/ratings/{book}")
        for review in reviews:
            stars = (found.get("ratings") or {}).get(review["reviewer"]) if status == 200 else None
            review["rating"] = (
                {"error": "Ratings service is currently unavailable"}
                if stars is None
                else {"stars": stars, "color": _COLOURS[version]}
            )
    pod = container.pod.name
    return {"id": book, "podname": pod, "clustername": "null", "reviews": reviews}


async def _page(container: Container, user: str) -> str:
    (_, details), (_, reviews) = await asyncio.gather(
        _ask(container, "details", "/details/0", user), _ask(container, "reviews", "/reviews/0", user)
    )
    rows = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>" for k, v in details.items())
    quotes = ""
    for review in reviews.get("reviews") or ():
        rating = review.get("rating") or {}
        stars = f'<font color="{rating["color"]}">{"★" * rating["stars"]}</font>' if "stars" in rating else ""
        stars = stars or html.escape(str(rating.get("error", "")))
        text, who = html.escape(review["text"]), review["reviewer"]
        quotes += f"<blockquote><p>{text}</p><small>{who}</small>{stars}</blockquote>"
    quotes = quotes or html.escape(str(reviews.get("error", "")))
    served = html.escape(str(reviews.get("podname", "")))
    greeting = f'<p>{html.escape(user)} (<a href="/logout">sign out</a>)</p>' if user else ""
    return (
        f"<!doctype html><title>Simple Bookstore App</title>{greeting}<h3>The Comedy of Errors</h3>"
        f"<h4>Book Details</h4><dl>{rows}</dl><h4>Book Reviews</h4>{quotes}<p>Reviews served by: {served}</p>"
    )


async def _logged(request: "web.BaseRequest", what: str) -> "web.StreamResponse":
    """Answer /login (whoever it is, whatever the password) and /logout: back to the page, with or without a name."""
    from aiohttp import web

    if what == "login" and request.method != "POST":
        return web.Response(status=405, headers={"Allow": "POST, OPTIONS"}, text="Method Not Allowed\n")
    back = web.Response(status=302, headers={"Location": request.headers.get("Referer") or "/productpage"})
    if what == "login":
        back.set_cookie("user", str((await request.post()).get("username", "")), httponly=True)
    else:
        back.del_cookie("user")
    return back


async def main(container: Container) -> int:
    _, _, rest = Reference.parse(container.image).repository.rpartition("/")
    service, _, version = rest.removeprefix("examples-bookinfo-").partition("-")

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        from aiohttp import web

        container.print(f'"{request.method} {request.path_qs}"')
        match [service, *request.path.strip("/").split("/")]:
            case ["productpage", "productpage"]:
                page = await _page(container, request.cookies.get("user", ""))
                return web.Response(text=page, content_type="text/html")
            case ["productpage", ("login" | "logout") as what]:
                return await _logged(request, what)
            case ["productpage", ""]:
                text = '<!doctype html><title>Simple Bookstore App</title><a href="/productpage">Normal user</a>'
                return web.Response(text=text, content_type="text/html")
            case ["productpage", "api", "v1", "products"]:
                return web.json_response([_PRODUCT])
            case ["productpage", "api", "v1", "products", book, ("reviews" | "ratings") as what]:
                status, found = await _ask(container, what, f"/{what}/{book}")
                return web.Response(status=status, text=json.dumps(found), content_type="application/json")
            case ["productpage", "api", "v1", "products", book]:
                status, found = await _ask(container, "details", f"/details/{book}")
                return web.Response(status=status, text=json.dumps(found), content_type="application/json")
            case ["details", "details", _]:
                return web.json_response(_DETAILS)
            case ["reviews", "reviews", book]:
                return web.json_response(await _reviews(container, book, version or "v1"))
            case ["ratings", "ratings", book]:
                return web.json_response({"id": book, "ratings": {"Reviewer1": 5, "Reviewer2": 4}})
            case [_, "health"]:
                return web.json_response({"status": f"{service.capitalize()} is healthy"})
        return web.Response(status=404, text="not found\n")

    return await serve(container, answer, _PORT)
