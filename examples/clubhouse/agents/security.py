"""The security-authentication-agent: reviews who may see what, secrets and SQL in the change so far."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import common  # noqa: F401 - finds the club's code

from interlock import agent

LEFT_OUT = {".git", ".interlock", "var", "__pycache__", "reports"}
READ = {".py", ".sql", ".txt", ".md", ".yaml", ".yml", ".json", ".toml", ".html", ".ini", ".cfg", ".env", ""}
EXECUTES = {"execute", "executemany", "executescript"}
SECRETS = [
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")),
    ("an access key of a cloud", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    (
        "a secret in plain text",
        re.compile(r"""(?i)\b(?:password|passwd|secret|token|api_?key)\b["']?\s*[:=]\s*["'][^"'\s{}<>]{8,}["']"""),
    ),
]


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.is_file() and not LEFT_OUT & set(inside.parts) and path.suffix in READ:
            yield inside


def changed(job: agent.Job, path: Path) -> bool:
    """Whether the file differs from the project's: agents before this one have made or changed it."""
    before = job.project / path
    return not before.is_file() or before.read_bytes() != (job.workspace / path).read_bytes()


def secrets(path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in SECRETS:
            if pattern.search(line):
                yield Finding(path, number, what)


def code(path: str, text: str) -> Iterator[Finding]:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield Finding(path, error.lineno or 1, "cannot be read as Python")
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from routes(path, node)
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") in EXECUTES
            and node.args
            and built(node.args[0])
        ):
            yield Finding(path, node.lineno, "SQL is put together from text: use parameters")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
            yield Finding(path, node.lineno, f"{node.func.id} runs whatever it is given")


def routes(path: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    for decorator in function.decorator_list:
        if (
            not isinstance(decorator, ast.Call)
            or getattr(decorator.func, "id", getattr(decorator.func, "attr", "")) != "route"
        ):
            continue
        roles = next((word.value for word in decorator.keywords if word.arg == "roles"), None)
        if roles is None or (isinstance(roles, ast.Constant) and not roles.value):
            yield Finding(path, function.lineno, f"the page {function.name} names no roles: everybody may see it")


def built(node: ast.expr) -> bool:
    """Whether a text is put together from values; numbers that went through int() are harmless."""
    if isinstance(node, ast.JoinedStr):
        values = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return any(not (isinstance(value, ast.Call) and getattr(value.func, "id", "") == "int") for value in values)
    if isinstance(node, ast.BinOp):
        return not (isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant))
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"format", "join"}


def report(new: list[Finding], old: list[Finding], reviewed: list[str]) -> str:
    def listed(findings: list[Finding]) -> str:
        return "\n".join(f"- {finding}" for finding in findings) or "- nothing found"

    return (
        "# Review of permissions, secrets and SQL\n\n"
        f"## In this change ({len(reviewed)} files)\n\n" + "".join(f"- read `{path}`\n" for path in reviewed) + "\n"
        f"{listed(new)}\n\n## In what was there before\n\n{listed(old)}\n"
    )


def work(job: agent.Job) -> None:
    new: list[Finding] = []
    old: list[Finding] = []
    reviewed = []
    for path in files(job.workspace):
        is_new = changed(job, path)
        if not is_new and path.parts[0] not in {"clubhouse", "migrations"}:
            continue
        text = job.read(path)
        found = list(secrets(str(path), text)) + (list(code(str(path), text)) if path.suffix == ".py" else [])
        (new if is_new else old).extend(found)
        reviewed += [str(path)] if is_new else []
    job.write("reports/security-review.md", report(new, old, reviewed))
    if new:
        job.fail("security_violation", "; ".join(str(finding) for finding in new[:5]))
    job.done(
        summary=f"reviewed {len(reviewed)} changed files: every page names its roles, no secret, no SQL put together from text",
        deliverables=["reports/security-review.md"],
        recommendations=[f"look at {finding}" for finding in old],
        artefacts=["reports/security-review.md"],
    )


if __name__ == "__main__":
    agent.main(work)
