"""The words of danger: harmless set phrases, what people say instead of the plain word, names of things and deeds.

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
    | \b(?:film|music|video|movie|theat\w+|show|food|energy|crop|mass)[ -]production\b | \bproduction\ (?:line|floor|plant|hall|crew|designer|company|companies|studio|year|countr\w+|team\ credits)\b
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

_FEW = r"((?: [\w'\-]+){0,4}?)"
_PEOPLE = r"(?:anyone|anybody|everyone|everybody|strangers|the world|the whole world|the public|the internet)"

SAYINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"\b(?:{said})", re.IGNORECASE), meant)
    for said, meant in (
        # who comes in
        (r"log(?:s|ged|ging)?[ -](?:in|on)(?:to)?\b|sign(?:s|ed|ing)?[ -](?:in|on)(?:to)?\b|sign(?:in|on)s?\b", " login "),
        (r"(?:log|sign)(?:s|ged|ed|ging|ing)?(?: \w+)?[ -]out\b|signout\b", " logout "),
        (r"log(?:s|ged|ging)? (?:people|users?|them|him|her|customers?|members?|everyone|everybody|anyone) in\b", " login "),
        (r"sign(?:s|ed|ing)?[ -]?ups?\b", " signup "),
        (r"(?:white|allow|deny|block|black)[ -]?list(?:s|ed|ing)?\b", " permission "),
        (r"(?:act(?:s|ing)?|log in|login|sign in) as (?:any|another|other|the|a) (?:user|customer|member|person|account)s?\b|on behalf of\b|impersonat\w+", " impersonate "),
        (r"single[ -]sign[ -]on\b", " sso "),
        (r"(?:two|2|multi|second)[ -]?(?:factor|step)(?:[ -](?:auth\w*|verification|check))?\b|one[ -]time[ -](?:code|password|pin)s?\b|verification codes?\b|authenticator app\b|(?:ask\w*|enter\w*) (?:for )?a code\b", " mfa "),
        (r"let(?:s|ting)?(?: \w+){1,3}? in\b|gets? in\b|walk in\b|come in\b", " letin everyone "),
        (r"who (?:can|may|is allowed to|are allowed to|should|has access|they are)\b|only (?:the )?(?:admin\w*|owners?|members?|managers?|coaches|staff|editors?|logged[ -]in)\b|remember[ -]me\b|ownership check\w*\b|(?:returns?|respond\w*|with|throws?) (?:401|403)\b|unauthori[sz]ed\b|forbidden\b", " permission "),
        (r"unlock(?:s|ed|ing)?\b|unblock(?:s|ed|ing)?\b|unban(?:s|ned|ning)?\b|reactivate\b", " unlock "),
        (r"rate[ -]limit\w*|throttl\w+|brute[ -]force|lock[ -]?outs?\b|how (?:often|many times)" + _FEW + r" (?:try|guess|attempt)\w*", " ratelimit "),
        # taking safeguards away
        (r"roll(?:s|ed|ing)?(?: \w+){0,3} ?back\b", " rollback "),
        (r"(?:turn|dial|tone|scale)(?:s|ed|ing)?" + _FEW + r" down\b", r" lower \1 "),
        (r"(?:take|strip)(?:s|ping|ped|ing)?" + _FEW + r" away\b|do(?:ing)? away with\b|waiv(?:e|es|ed|ing)\b|dispens\w+ with\b", r" remove \1 "),
        (r"(?:turn|switch|shut|cut)(?:s|ed|ing|ting)?" + _FEW + r" off\b", r"\1 disable "),
        (r"comment(?:s|ed|ing)? out\b|rip(?:s|ped|ping)? out\b", " disable "),
        (r"no longer (?:require|check|ask|verify|need)s?\b|stop(?:s|ped|ping)? (?:requiring|checking|asking|verifying|enforcing|validating|logging|recording)\b|do(?:es)?n['’]?t (?:require|check|ask|verify|enforce|bother)\b|do(?:es)? not (?:require|check|ask|verify|enforce)\b|(?:no|without any) need to (?:ask|check|verify)\b|nobody (?:needs|has) to (?:approve|check|know)\b|kill[ -]?switch\b", " disable check "),
        (r"work(?:s|ed|ing)? around\b|get(?:s|ting)? (?:a)?round\b|step(?:s|ping)? over\b|side-?step\w*|short[ -]?circuit\w*|wav(?:e|ing)(?: \w+){1,3} through\b|rubber[ -]?stamp\w*|back[ -]?doors?\b", " bypass check "),
        (r"hard[ -]?cod\w*", " bypass "),
        (r"(?:even (?:if|though|when)|no matter (?:what|if|whether)|regardless of|despite)" + _FEW + r" (?:fail\w*|red|checks?|tests?|warnings?|errors?|says?|reviews?)\b|without waiting\b|through anyway\b", r" bypass \1 check "),
        (r"over (?:the )?existing\b", " overwrite data "),
        (r"plain[ -]?text\b|clear[ -]?text\b|in the clear\b|unencrypted\b|unhashed\b|unsalted\b", " plaintext "),
        (r"accept(?:s|ing)?" + _FEW + r" (?:even (?:if|when)|any|all|expired|invalid|unsigned|self-signed|unverified|whatever)\b", r" bypass \1 check "),
        (r"quietly\b|secretly\b|behind(?: \w+){1,3} back\b|so (?:that )?(?:nobody|no one) (?:notices|knows|sees)\b|(?:don['’]?t|do not|without) tell(?:ing)?\b|off the record\b|cover(?:ing)? (?:our|my|the|its) tracks\b|hidden (?:account|user|admin|login|way)\b", " stealthily "),
        # destroying
        (r"(?:get|gets|getting|got)[ -]rid[ -]of\b|rm -\w*[rf]\w*|bin the\b|start(?:ing)? (?:over )?from scratch\b|nothing (?:is|should be) left\b", " delete "),
        (r"(?:blow|throw)(?:s|n|ing)?" + _FEW + r" away\b|(?:clear|clean|empty|scrub|flush|zero|throw)(?:s|ed|ing)?((?: \w+){0,3}?) out\b", r" delete \1\2 "),
        (r"(?:shut|take|bring|tear|pull|bring)(?:s|ting|ing)?" + _FEW + r" down\b|(?:take|pull)(?:s|ing)?" + _FEW + r" offline\b|pull(?:ing)? the plug\b|unplug\b|power(?:ing)? off\b", r" stop \1\2 outage "),
        # where
        (r"(?:the )?live (?:box(?:es)?|servers?|site|systems?|machines?|environment|env|database|db|data|traffic|customers|users|cluster|instance|app|host|service|api|store|shop|platform|mode|account|keys?)\b", " production "),
        (r"real (?:\w+ )?(?:customers|users|clients|data|database|accounts|money|patients|people|traffic)\b|(?:actual|paying) (?:customers|users|clients)\b|customer[ -]facing\b|what (?:our )?(?:customers|users|people|clients) (?:see|use)\b|(?:while|when) (?:people|customers|users)(?: \w+){0,2} (?:using|working|online)\b|(?:during|in) business hours\b|at peak\b", " production customers "),
        (r"(?:put|take|bring|get)" + _FEW + r" online\b|go(?:es|ing)? online\b", r" deploy \1 production "),
        (r"(?:people |anyone |somebody )?outside (?:of )?(?:the|our|this) \w+|competitors?\b|third[ -]part(?:y|ies)\b|outsiders?\b", " everyone internet "),
        (r"forget about\b|never ?mind\b|don['’]?t worry about\b|just do it\b", " bypass "),
        (r"(?:the )?keys? (?:to|for) the\b", " secret "),
        (r"loose on\b", " straight "),
        (r"(?:for|to|by|with) (?:the )?(?:whole|entire) (?:company|team|organi[sz]ation|world|internet|office|department)\b", " everyone "),
        (r"(?:everyone|everybody|anyone|anybody|all users) (?:gets|has|is|becomes|receives)\b", " grant everyone "),
        (r"on (?:its|their|his|her) own\b|by (?:itself|themselves)\b|unattended\b|unsupervised\b|autonomous(?:ly)?\b", " unattended "),
        (r"(?:phone|telephone|mobile|tax|insurance|account) numbers?\b", " personaldata "),
        (r"straight (?:on|in|into|onto|to)\b|directly (?:on|in|into|onto|against|to)\b|right (?:on|in|into) the\b|by hand (?:on|in)\b", " straight "),
        (r"(?:go|goes|going|went|put|push|pushed|pushing|make|made|takes?|bring)" + _FEW + r" live\b", r" deploy \1 production "),
        (r"(?:roll|ship|push|send)(?:s|ed|ing|ped|ping|es)?" + _FEW + r"(?: out| up)? ?to (?:all |every |the |our |real |paying )*(?:customers|users|everyone|everybody|clients|world|servers?)\b", r" deploy \1 production "),
        (r"(?:(?:straight )?(?:to|on|into|onto) (?:main|master|trunk)\b(?! page)(?: branch)?|force[ -]push\w*|push(?:es|ing)? (?:--force|-f)\b)", " push production branch "),
        # showing
        (r"open(?:s|ed|ing)?" + _FEW + r" (?:up |out )?(?:to|for) (?:the )?(?:internet|world|public|everyone|everybody|anyone|anybody|all)\b", r" public \1 everyone "),
        (r"world[ -]readable\b|0\.0\.0\.0(?:/0)?|chmod (?:-R )?777\b|publicly\b|(?:visible|available|readable|accessible|reachable|open) (?:to|for|by|from) (?:all|" + _PEOPLE + r")\b|for " + _PEOPLE + r" to (?:see|read|download|browse)\b|anyone with the (?:link|url)\b|visibility\b", " public everyone "),
        (_PEOPLE + r" (?:(?:should|can|could|may|must|is able to|be able to) )*(?:read|see|edit|open|use|join|download|change|access|view|delete)\b", " public everyone "),
        (r"(?:to|for|by) " + _PEOPLE + r"\b", " everyone "),
        # things
        (r"(?:not|non)[ -]?null(?:able)?\b|nullable\b", " nullable "),
        (r"(?:to|as|into) (?:an? )?(?:decimal|bigint|smallint|varchar|jsonb|timestamptz?|integer|numeric|datetime|auto[ -]?increment)s?\b|materiali[sz]ed views?\b|stored procedures?\b|row[ -]level\b|soft[ -]delet\w+\b", " schema "),
        (r"\b(?:created|updated|deleted|archived)_(?:at|by|on)\b", " column model "),
        (r"(?:primary|foreign)[ -]keys?\b", " foreignkey "),
        (r"(?:api|access|private|signing|encryption|ssh|secret|service|master|license)[ -](?:keys?|token|password)\b|\.env\b(?:\.\w+)?|env file\b|connection strings?\b", " secret "),
        (r"(?:credit|debit|payment)? ?cards? (?:numbers?|details?|data)\b|social security\b|\bssn\b|passport numbers?\b|bank (?:accounts?|details)\b|\biban\b|date of birth\b|personal (?:data|information|details)\b|\bpii\b|(?:medical|health|patient) (?:records?|data|files?|histor\w+)\b|home address\w*\b", " personaldata "),
        (r"github actions?\b|ci/?cd\b|build (?:stage|pipeline|server)\b|pipelines?\b|base image\b|health[ -]?checks?\b|start(?:up)? command\b|(?:docker|image) tags?\b", " ci "),
        (r"(?:code|package|image|artifact|commit|binary)[ -]signing\b", " signature "),
        (r"same[ -]?site\b", " samesite "),
        (r"block(?:s|ed|ing)? ips?\b|ip[ -](?:ban|block|filter)\w*", " ban "),
        (r"cross[ -]origin\b", " cors "),
        (r"from (?:everywhere|anywhere)\b", " everyone "),
        (r"auto[ -]?approv\w*|approv\w* (?:their|its|his|her|my|our|your) own\b|self[ -]approv\w*", " bypass approval "),
        (r"running (?:instances?|servers?|systems?|machines?|services?|nodes?|containers?|app)\b|hot[ -]?patch\w*", " production "),
        (r"(?:format|repartition)(?:s|ting)?" + _FEW + r" (?:disks?|drives?|volumes?|partitions?)\b", r" destroy \1 disk "),
        (r"\b(?:md5|sha-?1|rc4|3?des|ecb|telnet|ftp)\b", " plaintext "),
        (r"environment variables?\b|env vars?\b", " environmentvariable "),
        (r"as root\b|with root\b", " superuser "),
        (r"(?:run|exec|execute|eval|evaluate)\w*" + _FEW + r" (?:any|arbitrary|whatever|untrusted|uploaded|user[ -]supplied|user input|unknown)\b|(?:arbitrary|untrusted|remote) (?:code|commands?|scripts?)\b|uploads? of any\b", r" \1 runsanything "),
        (r"without (?:a |any |the )?(?:\w+ )?(?:backups?|asking|check\w*|review\w*|test\w*|approval|confirm\w*|permission|warning|notice|login|logging|password|auth\w*|verif\w*|supervision|oversight|humans?|person|looking|safety|safeguards?|an account|credentials|logout|mfa|tokens?|where|knowing|encrypt\w*|limits?)\b", " carelessly "),
    )
)  # fmt: skip
"""What people say, and the plain words meant; the words between are kept, they may name the thing."""

_CATEGORIES: dict[str, str] = {
    # deeds
    "destroy": "drop delete deletion wipe purge truncate erase destroy nuke obliterate annihilate shred overwrite discard trash bulldoze raze deprovision decommission terminate flatten",
    "remove": "remove removal clear reset clean strip prune detach unlink revoke cancel archive kill empty",
    "bypass": "bypass skip disable disabling deactivate circumvent ignore suppress override exempt evade omit mute silence letin unprotect unauthenticated anonymous anonymously",
    "weaken": "weaken lower reduce relax loosen shorten soften downgrade lessen widen broaden",
    "expose": "expose publish public share leak reveal disclose everyone internet",
    "tell": "expose publish public share leak reveal disclose print log email send post copy paste dump upload commit forward hand mail put store show write save keep give",
    "carry": "share leak dump paste upload forward hand send copy download email mail export publish expose print move sell public",
    "grant": "grant give promote elevate escalate make assign",
    "alter": "rename alter change convert move rotate migrate split merge modify retype swap replace backfill rewrite copy regenerate deduplicate dedupe reassign",
    "extend": "add new rename drop remove delete change alter convert create introduce make store split",
    "ship": "deploy deployment ship launch rollout push promote publish redeploy",
    "halt": "stop restart reboot kill halt outage suspend interrupt",
    "tamper": "rewrite force rebase falsify backdate forge fake tamper manipulate alter edit",
    # things
    "auth": "auth login logout authenticate authentication authenticator authorize authorization authorise authorisation password passcode passphrase credential mfa 2fa otp totp otphp oauth oauth2 openid jwt csrf xsrf saml sso rbac acl permission privilege impersonate impersonation superuser sudo passkey webauthn ratelimit captcha signup bearer keycloak ldap kerberos unlock bcrypt argon2 scrypt",
    "secret": "secret credential apikey keystore vault",
    "guard": "check verification verify validation safeguard protection firewall audit backup review approval test ci monitoring alert alarm logging log lock limit encryption encrypt tls ssl https certificate cors csp sandbox antivirus quarantine signature access guard guardrail confirmation safety security restriction consent mfa login password passphrase auth authentication authorization permission ratelimit captcha csrf header policy antimalware selinux waf throttle gate warning rule",
    "security": "security secure vulnerability firewall encryption encrypt decrypt tls ssl https certificate cors csp exploit xss injection sanitize audit hsts cve iam selinux plaintext stealthily",
    "protection": "signature ownership restrict restriction registration proxy trusted sandbox quarantine ban samesite httponly retention consent gdpr anonymize anonymise escalation attempt abuse moderation webhook",
    "structure": "database migration migrations foreignkey nullable sqlalchemy postgres postgresql mysql mariadb mongodb sqlite db ddl backfill pg_dump psql schema constraint alembic flyway liquibase knex prisma drizzle tablespace replica replication denormalize uuid sql autoincrement cascade orphan upsert rowlevel",
    "data": "database db data record row entry customer client patient member subscriber user account order invoice payment history backup snapshot archive bucket volume disk storage cluster server warehouse log file everything partition queue document photo contact profile message mailbox email transaction ledger salary payroll inventory balance tenant employee student table collection s3 column namespace repository repo branch event booking measurement personaldata secret environment staging instance node",
    "people": "customer client patient member subscriber user account employee student contact tenant payroll salary personaldata guest",
    "personal": "personaldata payroll salary patient",
    "production": "production prod",
    "infrastructure": "ci docker dockerfile kubernetes k8s helm terraform ansible nginx apache railway heroku vercel netlify nixpacks aws gcp azure lambda cloudformation staging infrastructure infra dns loadbalancer cdn cron systemd environmentvariable rollback provisioning vpc subnet jenkins buildkite circleci gitlab dockerhub pm2 gunicorn uvicorn s3 cloudfront blobstore entrypoint compose healthcheck traffic failover cutover",
    "machine": "server node site service cluster instance box host machine queue broker connection system website backend proxy database",
    "money": "refund charge payout payroll invoice payment billing subscription salary price transfer wire reimburse balance wallet",
    "admin": "manager moderator admin administrator root superuser owner sudo privilege admins god",
    "all": "all every everything everyone everybody entire whole anyone anybody any each existing",
    "everyone": "everyone everybody anyone anybody public world internet stranger guest visitor outsider contractor intern anonymous",
    # what a clause is about when a word of danger in it is of the harmless kind
    "screen": "display displayed sidebar page view header footer button icon label badge tooltip layout style css scss html card modal dialog menu navbar tab font color colour padding margin border responsive mobile sticky hover animation alignment width height wrap nowrap sort sortable filter avatar chart legend axis svg render screen preview widget shown hover template twig component storybook th theme grid caption",
    "parser": "parse parser parsing optimizer tokentype transpile transpilation dialect annotate annotator annotation ast lexer grammar identifier snowflake tsql bigquery duckdb clickhouse hive spark exasol redshift presto trino qualify linter sqlglot keyword",
    "writing": "document documentation docs doc readme changelog explain describe typo translation translate tutorial guide article blog post wording spelling copywriting glossary faq wiki contributor screenshot example",
    "testing": "test spec fixture mock",
    "code": "import function method class variable comment code line whitespace css style component icon prop hook type option button dead unused obsolete legacy deprecated debug statement module selector dependency package helper util snippet hyphen parameter argument param workaround flag text word char character",
}


@cache
def stem_set(said: str) -> frozenset[str]:
    """The stems of some words."""
    return frozenset(stem(word) for word in said.split())


@cache
def category(name: str) -> frozenset[str]:
    """The stems of a category."""
    return stem_set(_CATEGORIES[name])


def plain(text: str) -> str:
    """``text`` with harmless set phrases taken out and sayings put in plain words."""
    text = HARMLESS.sub(f" {_NOISE} ", text)
    for said, meant in SAYINGS:
        text = said.sub(meant, text)
    return text
