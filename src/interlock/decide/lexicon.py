"""The words of danger: what is harmless in spite of its words, what people say instead of the plain word, and which
words name a dangerous thing or a dangerous deed.

Written from what the words mean in software work. Categories hold dictionary forms; they are compared by stem.
"""

from __future__ import annotations

import re
from functools import cache

from interlock.decide.words import stem

_NOISE = "·"

HARMLESS = re.compile(
    r"""
      \b(?:co-?)?author(?:s|ed|ing|ship)?\b
    | \b(?:train|work|coach|practi[cs]e|exercis|swim|lift|learn|listen|jam|record|play|gam|meet|plann|brainstorm|pair|feedback|therap|yoga|gym)\w*[ -]sessions?\b
    | \b(?:workout|lesson|poster|keynote|conference|breakout|photo|q&a)[ -]sessions?\b
    | \b(?:tables?\ of\ contents?|table\ contents?|(?:periodic|round|pool|dining|coffee|league|times|truth|look-?up|hash|dinner|tennis|price|comparison|summary|statistics|stats|score|ranking|standings|sortable|stacked|striped|responsive|pivot|markdown|html|css|data)[ -]?tables?)\b
    | \btables?[ -]?(?:headers?|head|cells?|footers?|captions?|sort(?:ing|er)?|styl\w*|variants?|views?|layout|borders?|striping|padding|width|pagination|css|scss|component\w*|rows?\ colou?rs?)\b
    | \btable(?:header|cell|row|view|sort)\w*\b
    | \btable\.(?:s?css|html|tsx|jsx|vue|svelte|md)\b
    | \b(?:un)?(?:sortable|stable|portable|suitable|selectable|tablet|vegetable|notable|acceptable|adjustable|printable|editable|executable|mutable|immutable)s?\b
    | \bproduct(?:s)?[ -](?:page|card|list|detail|image|gallery|name|title|carousel|catalog\w*|descriptions?|tour)s?\b
    | \b(?:press|album|film|movie|song|record|book|game|unre|current|latest|stable|next|previous|minimum)[ -]?releases?\b
    | \bunreleased\b
    | \breleased?[ -](?:notes?|dates?|years?|package|pages?|badges?|filter|candidate\ notes|checklists?|calendar|blog|announcement)\b
    | \breleased\ (?:filter|movies?|films?|games?|albums?|years?)\b
    | \b(?:different|by)\ release\ years?\b
    | \brelease\ v?\d[\w.]*
    | \baria[-\ ]roles?\b | \broles?\s*=\s*["'\\]*\w+ | \broles?\ (?:button|attributes?|alert|img|presentation|navigation|dialog|tab\w*)\b
    | ["'`]?\b(?:alert|button|complementary|landmark|presentation|navigation|img|dialog|banner|status|tab|listbox|menu(?:item)?|semantic)\b["'`]?\ roles?\b
    | \b(?:key|lead|supporting|title|job|starring|acting)[ -]roles?\b
    | \b(?:film|music|video|movie|theat\w+|show|food|energy|crop|mass)[ -]production\b | \bproduction\ (?:company|companies|studio|year|countr\w+|team\ credits)\b
    | \b(?:re|co)?production\ (?:steps|of\ the\ (?:bug|issue|error|problem))
    | \breproduc\w+\b
    | \b(?:openapi|swagger|json|graphql|xml|avro|protobuf|yup|zod|schema\.org|form|validation|config|settings|colou?r|naming|theme|event|response|request)[ -]schemas?\b
    | \bcolou?r\ schemes?\b
    | \bdesign\ tokens?\b | \b(?:colou?r|spacing|font|css)[ -]tokens?\b
    | \b(?:screen|auto|display|monitor)[ -]?rotation\b
    | \bmigrat\w+\ (?:guide|docs?|notes)\b
    | \b(?:drop|pull)[ -]?downs?\b | \bdrag[ -](?:and|n|&)[ -]drop\b | \bdrop[ -](?:shadow|zone|cap|area)s?\b
    | \bkeyboard\ \w+\b | \b(?:arrow|shortcut|hot|translation|i18n|sort|react|object)[ -]keys?\b
    | \bpassword[ -](?:icon|placeholder|eye|label)s?\b | \b(?:login|log-?in|sign-?in)[ -](?:icon|illustration|logo|image|background|button\ (?:colou?r|style|alignment))s?\b
    | \bsecurity[ -](?:conference|badge\ image|blog|newsletter)\b
    | \bpublic[ -](?:holiday|transport|speaking|relations|library|domain)s?\b
    | \b(?:index|landing|home|start)[ -]?pages?\b | \bindex\.\w+\b
    | \bdelet(?:e|ed)\ (?:icon|button|key)\b
    | \blive[ -](?:reload\w*|preview|demo|chat|music|band|score\w*|region|template|search|blog|stream\w*|feedback)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Set phrases in which a dangerous-looking word is harmless."""

SAYINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"\b(?:{said})\b", re.IGNORECASE), meant)
    for said, meant in (
        (r"log(?:s|ged|ging)?[ -](?:in|on)(?:to)?|sign(?:s|ed|ing)?[ -](?:in|on)(?:to)?|signin|signon", "login"),
        (r"log(?:s|ged|ging)?[ -]out|sign(?:s|ed|ing)?[ -]out|signout", "logout"),
        (r"single[ -]sign[ -]on", "sso"),
        (
            r"(?:two|2|multi|second)[ -]?(?:factor|step)(?:[ -](?:auth\w*|verification|check))?|one[ -]time[ -](?:code|password|pin)s?|verification codes?|authenticator app",
            "mfa",
        ),
        (
            r"(?:turn|switch|shut|cut)(?:s|ed|ing|ting)?(?: \w+){0,3}? off|shut(?:s|ting)?[ -]down|take(?:s|n)? down|kill[ -]?switch|comment(?:s|ed|ing)? out|rip(?:s|ped|ping)? out|no longer (?:require|check|ask|verify|need)s?|stop(?:s|ped|ping)? (?:requiring|checking|asking|verifying|enforcing|validating|logging|recording)|do(?:es)?n'?t (?:require|check|ask|verify|enforce|bother)|do(?:es)? not (?:require|check|ask|verify|enforce)",
            "disable",
        ),
        (
            r"(?:get|gets|getting|got)[ -]rid[ -]of|blow(?:s|n|ing)? (?:\w+ ){0,3}?away|throw(?:s|n|ing)? (?:\w+ ){0,3}?away|(?:clear|clean|empty|scrub|flush)(?:s|ed|ing)? (?:\w+ ){0,2}?out|start(?:ing)? (?:over )?from scratch|rm -\w*[rf]\w*|zero(?:s|ed|ing)? out|tear(?:s|ing)? down|bin the",
            "delete",
        ),
        (
            r"work(?:s|ed|ing)? around|get(?:s|ting)? (?:a)?round|go(?:es|ing)? around|step(?:s|ping)? over|sidestep\w*|side-step\w*|short[ -]?circuit\w*|wave\w* through|rubber[ -]?stamp\w*|look(?:ing)? the other way|backdoor|back[ -]door|master[ -](?:password|key)|hard[ -]?cod\w*",
            "bypass",
        ),
        (
            r"straight (?:on|in|into|onto|to)|directly (?:on|in|into|onto|against|to)|right (?:on|in|into) the",
            "straight",
        ),
        (
            r"(?:the )?live (?:box|boxes|server|servers|site|system|systems|machine|machines|environment|env|database|db|data|traffic|customers|users|cluster|instance|app|host|service|api|store|shop|platform)",
            "production",
        ),
        (r"(?:go|goes|going|went|put|push|pushed|pushing|make|made)(?: \w+){0,3}? live", "deploy production"),
        (
            r"(?:roll(?:s|ed|ing)?|ship(?:s|ped|ping)?|push(?:es|ed|ing)?|send(?:s|ing)?)(?: \w+){0,4}? (?:out|up)? ?to (?:all|every|the|our|real|paying)? ?(?:customers|users|everyone|everybody|clients|world|servers?)",
            "deploy production",
        ),
        (
            r"(?:real|actual|paying) (?:customers|users|clients)|customer[ -]facing|what customers (?:see|use)",
            "production customers",
        ),
        (
            r"(?:to|on|into|onto) (?:main|master|trunk)(?: branch)?|force[ -]push\w*|push(?:es|ing)? (?:--force|-f)",
            "production push",
        ),
        (
            r"open(?:s|ed|ing)? (?:it |this |that |them )?up|open(?:s|ed|ing)? (?:\w+ ){0,4}?to (?:the )?(?:internet|world|public|everyone|everybody|anyone|anybody|all)|world[ -]readable|0\.0\.0\.0(?:/0)?|chmod (?:-R )?777|publicly|for (?:the whole world|anyone|anybody|everyone|everybody) to (?:see|read|download|browse)|(?:to|for|by) (?:anyone|anybody|everyone|everybody)",
            "public everyone",
        ),
        (r"let(?:s|ting)? (?:\w+ ){0,3}?in\b", "let-in everyone"),
        (r"(?:not|non)[ -]?null(?:able)?|nullable", "nullable"),
        (r"(?:primary|foreign)[ -]keys?", "foreignkey"),
        (r"(?:api|access|private|signing|encryption|ssh|secret|service)[ -]keys?|\.env(?:\.\w+)?", "secret"),
        (r"rate[ -]limit\w*|throttl\w+|brute[ -]force|lock[ -]?out", "ratelimit"),
        (r"github actions?|ci/?cd|build stage|build pipeline|pipeline", "ci"),
        (r"environment variables?|env vars?", "environmentvariable"),
        (
            r"without (?:a )?(?:backups?|asking|checking|review\w*|test\w*|approval|confirm\w*|permission|telling|warning|notice|login|logging|password|auth\w*|verif\w*|supervision|safety|safeguards?|an account|credentials|logout|mfa|token|where)",
            "without-care",
        ),
    )
)
"""What people say, and the plain words meant."""

_CATEGORIES: dict[str, str] = {
    # deeds
    "destroy": "drop delete deletion wipe purge truncate erase destroy nuke obliterate annihilate shred overwrite discard trash bulldoze raze uninstall deprovision decommission terminate torch flatten",
    "remove": "remove removal clear reset clean strip prune detach unlink revoke cancel archive kill",
    "bypass": "bypass skip disable disabling deactivate circumvent ignore suppress override exempt evade omit mute silence without let-in unprotect unauthenticated anonymous anonymously",
    "weaken": "weaken lower reduce relax loosen shorten soften downgrade lessen raise increase widen broaden extend trust",
    "expose": "expose publish public share leak reveal print log email send export dump upload copy disclose paste post commit forward mail download hand everyone internet",
    "grant": "grant give promote elevate escalate allow permit assign make add",
    "alter": "rename alter change convert move rotate migrate split merge modify retype swap replace backfill rewrite copy regenerate reset",
    "ship": "deploy deployment ship launch rollout push promote publish redeploy",
    # things
    "auth": "auth login logout authenticate authentication authenticator authorize authorization authorise authorisation password passcode passphrase credential mfa 2fa otp totp otphp oauth oauth2 openid jwt csrf xsrf saml sso rbac acl permission privilege impersonate impersonation superuser sudo passkey webauthn ratelimit captcha signup bearer keycloak ldap kerberos",
    "secret": "secret credential apikey keystore vault hash salt",
    "guard": "check verification verify validation safeguard protection firewall audit backup review approval test ci monitoring alert alarm logging log lock limit encryption encrypt tls ssl https certificate cors csp sandbox antivirus quarantine signature guard guardrail confirmation safety security restriction consent mfa login password auth authentication authorization permission ratelimit captcha csrf header policy antimalware selinux waf throttle gate",
    "security": "security secure vulnerability firewall encryption encrypt decrypt tls ssl https certificate cors csp exploit xss injection sanitize audit hsts cve iam selinux",
    "structure": "database migration migrations foreignkey nullable sqlalchemy postgres postgresql mysql mariadb mongodb sqlite db ddl backfill pg_dump psql schema constraint alembic flyway liquibase knex prisma drizzle tablespace replica replication denormalize uuid",
    "data": "database db data record row entry customer client patient member subscriber user account order invoice payment history backup snapshot archive bucket volume disk storage cluster server warehouse log file everything partition queue document photo contact profile message mailbox email transaction ledger salary payroll inventory balance tenant employee student table tables collection s3 column namespace repository repo branch",
    "people": "customer client patient member subscriber user account employee student contact tenant personal payroll salary medical health email address phone",
    "production": "production prod",
    "infrastructure": "ci docker dockerfile container kubernetes k8s helm terraform ansible nginx apache railway heroku vercel netlify nixpacks fly aws gcp azure lambda cloudformation staging infrastructure infra server dns loadbalancer cdn cron systemd environmentvariable rollback provisioning deployment vpc subnet ingress runtime workflow jenkins buildkite circleci gitlab dockerhub registry pm2 gunicorn uvicorn",
    "money": "refund charge payout payroll invoice payment billing subscription salary price transfer wire reimburse",
    "admin": "admin administrator root superuser owner sudo privilege admins god",
    "all": "all every everything everyone everybody entire whole anyone anybody any each nobody existing",
    "everyone": "everyone everybody anyone anybody public world internet stranger guest visitor outsider contractor intern anonymous",
    # places that make a table, role, session or token one of the dangerous kind
    "screen": "display displayed sidebar page view column-width header footer button icon label badge tooltip layout style css scss html card modal dialog menu navbar tab font color colour padding margin border spacing responsive mobile sticky hover animation alignment width height wrap nowrap sort sortable filter icon avatar chart legend axis svg render screen preview widget template twig component storybook th theme grid",
    "parser": "parse parser parsing optimizer tokentype transpile transpilation dialect annotate annotator annotation ast lexer grammar identifier snowflake tsql bigquery duckdb clickhouse hive spark exasol redshift presto trino qualify linter",
    "writing": "document documentation docs doc readme changelog explain describe typo comment translation translate tutorial guide article blog post wording spelling copywriting glossary faq wiki contributor screenshot example",
    "testing": "test spec fixture mock",
}


@cache
def category(name: str) -> frozenset[str]:
    """The stems of a category."""
    return frozenset(stem(word) for word in _CATEGORIES[name].split())


def plain(text: str) -> str:
    """``text`` with harmless set phrases taken out and sayings put in plain words."""
    text = HARMLESS.sub(f" {_NOISE} ", text)
    for said, meant in SAYINGS:
        text = said.sub(f" {meant} ", text)
    return text
