"""The packs: what each of their rules stops, and what it leaves alone, with the real readers."""

from typing import Any

import pytest

from interlock.decide.judge import judge
from interlock.model.action import Action, Integrity, Labels, Scope, Surface
from interlock.policies import DEFAULT_PACKS, PACKS, examine_text, load_policies, pack_text
from interlock.reading.read import read
from interlock.surfaces.cli.judging import action_of

SCOPE = Scope(workspace="/srv/project")
SECRET = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA9cD1fG3hJ5"


def rules(pack: str, text: Any, *, tool: str = "shell", surface: str = "tool_call", **more: Any) -> set[str]:
    args = {"text": text} if isinstance(text, str) else text
    action = Action(kind=Surface(surface), tool=tool, args=args, **more)
    decision = judge(action, read(action, SCOPE), load_policies([pack], [], {}), environment=action.environment)
    return {rule for rule in decision.rule_ids if "/" in rule}


def diff(path: str, *added: str) -> str:
    return f"--- a/{path}\n+++ b/{path}\n@@ -1,1 +1,{len(added) + 1} @@\n x\n" + "".join(f"+{line}\n" for line in added)


@pytest.mark.parametrize(
    ("pack", "rule", "text", "more"),
    [
        ("defaults", "database-protection/drop-table", "DROP TABLE users", {"tool": "sql"}),
        ("defaults", "database-protection/drop-table", "psql -c 'drop table users'", {}),
        ("defaults", "database-protection/drop-table", {"query": "DROP TABLE users"}, {"tool": "mcp__pg__query"}),
        ("defaults", "database-protection/delete-where", "DELETE FROM users WHERE id = 1", {"tool": "sql"}),
        ("defaults", "database-protection/alter-table-drop", "ALTER TABLE users DROP COLUMN a", {"tool": "sql"}),
        (
            "defaults",
            "security-protection/password",
            diff("a.py", f'password = "{SECRET}"'),
            {"surface": "file_change"},
        ),
        ("defaults", "security-protection/password", f"The password is: {SECRET}", {"surface": "agent_output"}),
        (
            "defaults",
            "security-protection/auth-disable",
            diff("a.yaml", "auth: {mode: disabled}"),
            {"surface": "file_change"},
        ),
        (
            "defaults",
            "security-protection/auth-disable",
            {"setting": "auth", "value": "disable auth; disable it"},
            {"tool": "admin"},
        ),
        ("defaults", "security-protection/mfa-false", {"mfa_required": False}, {"tool": "admin"}),
        ("defaults", "security-protection/mfa-false", diff("a.yaml", "mfa: false"), {"surface": "file_change"}),
        ("databases", "databases/server-tools", "redis-cli FLUSHALL", {}),
        ("databases", "databases/server-tools", "dropdb shop", {}),
        ("databases", "databases/rights", "GRANT ALL ON t TO bob", {"tool": "sql"}),
        (
            "databases",
            "databases/migration-that-loses-data",
            diff("db/migrations/3.sql", "DROP TABLE a;"),
            {"surface": "file_change"},
        ),
        ("git", "git/force-push", "git push --force origin feature", {}),
        ("git", "git/force-push", "git push origin +feature", {}),
        ("git", "git/push-to-main", "git push origin HEAD:main", {}),
        ("git", "git/delete-remote-branch", "git push origin --delete old", {}),
        ("git", "git/skip-hooks", "git commit --no-verify -m x", {}),
        ("git", "git/hooks-elsewhere", "git -c core.sshCommand=/tmp/x fetch", {}),
        ("cloud", "cloud/delete", "aws s3 rb s3://shop", {}),
        ("cloud", "cloud/delete", "gcloud projects delete shop", {}),
        ("cloud", "cloud/destroy-infrastructure", "terraform destroy", {}),
        ("cloud", "cloud/destroy-infrastructure", "terraform apply -auto-approve", {}),
        ("cloud", "cloud/open-to-the-world", "aws s3api put-bucket-acl --bucket b --acl public-read", {}),
        ("kubernetes", "kubernetes/delete-much", "kubectl delete namespace shop", {}),
        ("kubernetes", "kubernetes/delete-much", "kubectl delete pods --all", {}),
        ("kubernetes", "kubernetes/delete", "helm uninstall shop", {}),
        ("kubernetes", "kubernetes/read-secrets", "kubectl get secret db -o yaml", {}),
        ("secrets", "secrets/written", diff("a.py", f'token = "{SECRET}"'), {"surface": "file_change"}),
        (
            "secrets",
            "secrets/untrusted-asks-for-secrets",
            {"path": ".env"},
            {"tool": "read", "labels": Labels(integrity=Integrity.UNTRUSTED)},
        ),
        (
            "production",
            "production/data",
            "UPDATE t SET a = 1 WHERE id = 2",
            {"tool": "sql", "environment": "production"},
        ),
        ("production", "production/rights", "GRANT SELECT ON t TO bob", {"tool": "sql", "environment": "production"}),
        ("production", "production/machines", "kubectl get pods", {"environment": "production"}),
        ("production", "production/dangerous", "rm -rf src", {"environment": "prod"}),
        ("forbidden-operations", "forbidden-operations/drop-or-truncate", "TRUNCATE t", {"tool": "sql"}),
        (
            "forbidden-operations",
            "forbidden-operations/authentication-tables",
            "UPDATE user_roles SET a = 1 WHERE id = 2",
            {"tool": "sql"},
        ),
        (
            "forbidden-operations",
            "forbidden-operations/audit-removed",
            "DELETE FROM audit_log WHERE id < 9",
            {"tool": "sql"},
        ),
        ("forbidden-operations", "forbidden-operations/push-to-main", "git push origin master", {}),
        ("forbidden-operations", "forbidden-operations/force-push-or-delete-branch", "git branch -D old", {}),
        (
            "forbidden-operations",
            "forbidden-operations/ci-checks",
            diff(".github/workflows/ci.yml", "x: 1"),
            {"surface": "file_change"},
        ),
        (
            "forbidden-operations",
            "forbidden-operations/mfa-or-password-policy",
            diff("a.yaml", "mfa_required: false"),
            {"surface": "file_change"},
        ),
        (
            "forbidden-operations",
            "forbidden-operations/mfa-or-password-policy",
            diff("a.py", "MIN_PASSWORD_LENGTH = 4"),
            {"surface": "file_change"},
        ),
        (
            "forbidden-operations",
            "forbidden-operations/rate-limit",
            diff("a.yaml", "rate_limit: 0"),
            {"surface": "file_change"},
        ),
    ],
)
def test_a_rule_of_a_pack_catches_what_it_is_for(pack: str, rule: str, text: Any, more: dict[str, Any]) -> None:
    assert rule in rules(pack, text, **more)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("grep -rn 'DROP TABLE' docs", {}),
        ("echo 'DELETE FROM users WHERE id = 1' >> notes.md", {}),
        ('git commit -m "auth: disable nothing"', {}),
        ("git log --author=ann | grep disable", {}),
        ("grep -rn 'mfa.*false' src", {}),
        ("git push origin feature", {}),
        ("git branch -a", {}),
        ("git fetch origin main", {}),
        ("kubectl get pods -n shop", {}),
        ("terraform plan", {}),
        ("aws s3 ls", {}),
        ("redis-cli GET a", {}),
        ("SELECT password FROM t WHERE id = 1", {"tool": "sql"}),
        ("SELECT 'DROP TABLE x'", {"tool": "sql"}),
        ("Drop the table of contents and say why authors disable it: password policy", {"surface": "task"}),
        ("The password: field is checked; mfa is never false.", {"surface": "agent_output"}),
        (diff("a.py", "password: str", "author = 'x'  # pylint: disable=x"), {"surface": "file_change"}),
        (diff("a.py", "MIN_PASSWORD_LENGTH = 14", "rate_limit = 100"), {"surface": "file_change"}),
        ({"city": "Paris"}, {"tool": "weather"}),
        ({"path": ".github/workflows/ci.yml"}, {"tool": "read"}),
    ],
)
def test_the_default_packs_leave_ordinary_work_alone(text: Any, more: dict[str, Any]) -> None:
    assert not set().union(*(rules(pack, text, **more) for pack in DEFAULT_PACKS))


def test_production_rules_hold_in_production_only() -> None:
    assert not rules("production", "kubectl delete pod x", environment="development")


@pytest.mark.parametrize("pack", PACKS)
def test_the_cases_beside_each_pack_hold(pack: str) -> None:
    found, _ = examine_text(pack_text(pack), pack)
    policies = load_policies([pack], [], {})
    assert found.cases or pack == "literal"
    for case in found.cases:
        row: dict[str, Any] = {"surface": case.surface, "tool": case.tool, "environment": case.environment}
        row |= {"args": case.args} if case.args is not None else {"text": case.text}
        action = action_of(row, environment=case.environment)
        assert judge(action, read(action, Scope()), policies, environment=case.environment).verdict is case.expect, case
