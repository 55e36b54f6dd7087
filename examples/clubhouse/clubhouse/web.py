"""The club's pages, as a WSGI application.

python -m clubhouse.web [PORT]    serve var/club.db on this machine only
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from html import escape
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

from clubhouse import access, charts, numbers, panels
from clubhouse.database import LIVE, connect

Page = Callable[[sqlite3.Connection, str], str]
ROUTES: dict[str, tuple[Page, frozenset[str]]] = {}
STYLE = "body{font-family:sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em .8em;text-align:left}svg{max-width:100%}"


def route(path: str, *, roles: frozenset[str]) -> Callable[[Page], Page]:
    """Serve a page at this path, for these roles only."""

    def add(page: Page) -> Page:
        ROUTES[path] = page, roles
        return page

    return add


@route("/", roles=access.EVERYONE)
def dashboard(connection: sqlite3.Connection, _rest: str) -> str:
    links = " · ".join(
        f'<a href="/metrics/{escape(one.key)}">{escape(one.title)}</a>' for one in numbers.metrics(connection)
    )
    return f"<h1>Clubhouse</h1><p>{links}</p>" + "".join(
        f"<section>{one}</section>" for one in panels.rendered(connection)
    )


@route("/metrics/", roles=access.STAFF)
def metric(connection: sqlite3.Connection, rest: str) -> str:
    one = numbers.metric(connection, rest)
    return f"<h1>{escape(one.title)}</h1>{charts.band_table(one, numbers.bands(connection, one.key))}"


@route("/athletes", roles=access.STAFF)
def athletes(connection: sqlite3.Connection, _rest: str) -> str:
    rows = connection.execute(
        "SELECT athletes.name, born, teams.name FROM athletes JOIN teams ON teams.id = team_id ORDER BY 3, 1"
    )
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{born}</td><td>{escape(team)}</td></tr>" for name, born, team in rows
    )
    return f"<h1>Athletes</h1><table>{lines}</table>"


def application(database: Path = LIVE) -> Callable[[Mapping[str, Any], Callable[..., Any]], Iterable[bytes]]:
    def serve(environ: Mapping[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with closing(connect(database)) as connection:
            status, body = answer(connection, str(environ.get("PATH_INFO", "/")), token(environ))
        start(
            status,
            [
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
            ],
        )
        return [f"<!doctype html><meta charset=utf-8><title>Clubhouse</title><style>{STYLE}</style>{body}".encode()]

    return serve


def token(environ: Mapping[str, Any]) -> str:
    try:
        morsel = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("club")
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def answer(connection: sqlite3.Connection, path: str, given: str) -> tuple[str, str]:
    found = next(
        (
            name
            for name in sorted(ROUTES, reverse=True)
            if path == name or (name.endswith("/") and name != "/" and path.startswith(name))
        ),
        None,
    )
    if found is None:
        return "404 Not Found", "<h1>There is no such page</h1>"
    page, roles = ROUTES[found]
    role = access.role_of(connection, given)
    if role not in roles:
        return ("403 Forbidden", "<h1>Not for you</h1>") if role else ("401 Unauthorized", "<h1>Who are you?</h1>")
    try:
        return "200 OK", page(connection, path[len(found) :])
    except LookupError:
        return "404 Not Found", "<h1>There is no such page</h1>"


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    print(f"http://127.0.0.1:{port}/ (cookie club=TOKEN; python -m clubhouse.access makes one)")
    make_server("127.0.0.1", port, application()).serve_forever()
