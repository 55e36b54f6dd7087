"""Words of software work that mean nearly the same, so that "sign-in" finds the agent whose keyword is "auth".

One group a line, written from general knowledge of the trade, not from any data set. A word that an agent does not know
itself counts by how much of the word's group the agent knows, at most :data:`KINSHIP`.
"""

from __future__ import annotations

from functools import cache

from interlock.decide.words import stem

KINSHIP = 0.55

_GROUPS = """
auth authentication authenticate authorization authorize login logout signin signout signup sso oauth oidc saml jwt mfa 2fa totp otp passkey credential password passwords session csrf token cookie
permission permissions privilege role rbac acl access authorization entitlement
security secure vulnerability cve hardening exploit xss csrf injection sanitize threat pentest encryption tls ssl certificate secret
database db sql postgres postgresql mysql sqlite mariadb schema migration migrations table column orm drizzle prisma sqlalchemy index foreign constraint query queries relational persistence seed
cache caching redis memcached memoize memoization
chart charts graph graphs plot plots visualization visualisation visualize histogram heatmap scatter axis legend tooltip sparkline line-chart diagram radar violin
analytics analysis analyse analyze statistics stats statistical percentile median average trend trends insight kpi metric metrics correlation regression
dashboard dashboards report reports reporting
ui ux interface frontend front-end component components page pages view screen layout button sidebar navbar navigation menu modal dialog dropdown icon header footer tooltip css style styling theme tailwind responsive breakpoint widget card tab tabs link display client-side
accessibility a11y wcag aria contrast keyboard-navigation screen-reader focus
form forms input field fields validation validate validator submit checkbox zod wizard
api endpoint endpoints route routes router routing rest graphql grpc controller middleware request response handler http cors pagination webhook openapi swagger
backend server service microservice
test tests testing tested unit-test integration-test coverage mock mocks fixture tdd assertion pytest jest vitest spec flaky regression-test qa
e2e end-to-end playwright cypress selenium browser journey
deploy deployment deployments release releases ci cd pipeline pipelines workflow workflows github-actions docker dockerfile container kubernetes k8s helm terraform ansible infrastructure infra devops staging production railway heroku vercel aws gcp azure cloud rollback provisioning hosting environment shellcheck
monitoring observability alerting prometheus grafana metrics logs logging tracing telemetry uptime incident oncall sentry
dependency dependencies npm package packages pip yarn pnpm cargo lockfile upgrade bump dependabot renovate version versions deps vulnerability outdated
email emails mail smtp notification notifications notify sms push invitation invitations invite alert reminder newsletter message messaging inbox
csv import imports importer export exports exporter bulk batch spreadsheet excel xlsx upload parse parser parsing etl ingest ingestion
image images photo photos picture ocr scan thumbnail resize camera vision
performance optimization optimisation optimize slow slowness speed fast faster latency throughput profiling profile bottleneck memory leak lazy-loading bundle
documentation docs document readme changelog guide tutorial manual wiki docstring
translation translations localization localisation locale i18n l10n language languages translate
payment payments billing invoice invoices checkout stripe paypal subscription refund charge price pricing tax vat
cart basket checkout order orders purchase product products catalogue inventory stock shipping shipment delivery warehouse
search elasticsearch opensearch lucene ranking autocomplete facet relevance fulltext
mobile ios android swift kotlin flutter react-native
machine-learning ml model training inference neural pytorch tensorflow embedding dataset feature-store
data-pipeline etl airflow dbt warehouse spark kafka stream streaming queue broker rabbitmq
network dns firewall vpn proxy loadbalancer subnet router packet
pull-request pr review reviewer merge mergeable
feature-flag flag toggle rollout experiment ab-test canary
tenant tenants tenancy multi-tenant organization organisation white-label isolation
privacy gdpr consent retention anonymize anonymise pii personal erasure compliance
audit compliance trail
game level sprite physics collision player shader rendering
firmware embedded microcontroller sensor driver hardware gpio
customer crm lead ticket support helpdesk
calendar schedule scheduling appointment booking reservation slot
file storage s3 blob bucket upload download attachment
editor markdown wysiwyg cms article blog content
map maps geo gis location gps coordinates route
video audio media transcoding codec stream player
compiler parser lexer ast grammar tokenizer bytecode linker
spreadsheet accounting ledger bookkeeping reconciliation
"""


@cache
def groups() -> tuple[frozenset[str], ...]:
    """The groups as sets of stems."""
    return tuple(
        frozenset(stem(word.replace("-", "")) for word in line.split()) for line in _GROUPS.strip().splitlines()
    )


@cache
def groups_of() -> dict[str, tuple[int, ...]]:
    """For each stem, the numbers of its groups."""
    known: dict[str, list[int]] = {}
    for number, group in enumerate(groups()):
        for member in group:
            known.setdefault(member, []).append(number)
    return {member: tuple(numbers) for member, numbers in known.items()}
