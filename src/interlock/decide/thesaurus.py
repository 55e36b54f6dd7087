"""Words of software work that mean nearly the same, so that "sign-in" finds the agent whose keyword is "auth".

One group a line, written from general knowledge of the trade, not from any data set. A word that an agent does not know
itself counts by how much of the word's group the agent knows, at most :data:`KINSHIP`.
"""

from __future__ import annotations

from functools import cache

from interlock.decide.words import stem

KINSHIP = 0.85

_GROUPS = """
auth authentication authenticate authorization authorize login logout signin signout signup register registration sso oauth oidc saml jwt mfa 2fa totp otp passkey credential password session csrf token cookie account
permission privilege role rbac acl access authorization entitlement
security secure vulnerability vulnerable cve hardening harden exploit xss csrf injection sanitize threat pentest attack attacker encryption encrypt tls ssl certificate secret malware
database db sql postgres postgresql mysql sqlite mariadb mongodb oracle schema migration migrate table column orm drizzle prisma sqlalchemy index foreign constraint query relational persistence seed
cache redis memcached memoize memoization ttl
chart graph plot visualization visualisation visualize histogram heatmap scatter axis legend tooltip sparkline linechart diagram radar violin donut
analytics analysis analyse analyze statistics stats statistical percentile median average trend insight kpi metric correlation regression quantile deviation
dashboard report reporting bi looker metabase tableau powerbi superset kpi
ui ux interface frontend component page view screen layout button sidebar navbar navigation menu modal dialog dropdown icon header footer tooltip css style styling theme tailwind responsive breakpoint widget card tab link display clientside picker darkmode react vue angular svelte html typography panel toolbar toast spinner placeholder click hover scroll drag zoom collapse expand pixel viewport
design mockup wireframe figma prototype typography colour color branding logo
accessibility accessible a11y wcag aria contrast screenreader focus
form input field validation validate validator submit checkbox zod wizard picker
api endpoint route router routing rest graphql grpc controller middleware request response handler http cors pagination webhook openapi swagger
backend server service serverside microservice api endpoint database
test tests testing unit integration coverage mock fixture tdd assertion pytest jest vitest spec flaky regression qa reproduce
e2e endtoend playwright cypress selenium browser journey
deploy deployment release rollout ci cd pipeline workflow actions docker dockerfile container kubernetes helm terraform ansible infrastructure infra devops staging production railway heroku vercel aws gcp azure cloud rollback provision provisioning hosting environment shellcheck
ci build pipeline workflow actions runner artifact jenkins gitlab compile publish tag release nightly
kubernetes k8s cluster pod replica node namespace ingress helm autoscaling autoscale evict kubectl container deployment daemonset
terraform cloudformation pulumi cloud aws gcp azure vpc subnet iam bucket s3 ec2 lambda
debug debugger debugging crash exception traceback stacktrace hang freeze segfault nullpointer flaky failure
monitoring monitor reliability sre observability alerting alert pager paging prometheus grafana metric log logging trace tracing telemetry uptime incident oncall sentry slo outage downtime
dependency package npm pip yarn pnpm cargo lockfile upgrade bump dependabot renovate version outdated deps library
email mail smtp notification notify sms push invitation invite alert reminder newsletter message messaging inbox
csv import importer export exporter bulk batch spreadsheet excel xlsx upload parse parser parsing etl ingest ingestion
image photo picture ocr scan thumbnail resize camera vision
performance optimization optimisation optimize slow slowness speed fast latency throughput profiling bottleneck memory leak lazyloading bundle
documentation docs document readme changelog guide tutorial manual wiki docstring reference howto
translation translate localization localisation locale i18n l10n language multilingual
bank banking statement balance account reconcile reconciliation ledger
payment pay payer paypal stripe billing bill invoice checkout subscription refund charge price pricing tax vat card chargeback
cart basket checkout order purchase buy buyer product catalogue shop store storefront
inventory stock warehouse supplier reorder replenish sku
shipping ship shipment delivery deliver parcel carrier courier tracking postage return dhl ups fedex logistics freight
search elasticsearch opensearch lucene rank ranking autocomplete suggestion facet relevance fulltext synonym typo
mobile ios android swift kotlin flutter phone tablet
ml machinelearning model training train retrain inference neural pytorch tensorflow embedding dataset prediction predict predictor classifier recommendation forecast drift llm finetune hyperparameter
datapipeline etl elt airflow dbt spark kafka stream streaming queue broker rabbitmq load loader ingest ingestion connector sync source lake airbyte fivetran
warehouse dbt snowflake bigquery redshift fact dimension mart staging incremental
network dns firewall vpn proxy loadbalancer subnet router packet switch wifi latency
pullrequest pr review reviewer merge mergeable inspect critique
featureflag flag toggle rollout experiment abtest canary
tenant tenancy multitenant organization organisation whitelabel isolation
kyc identity passport sanction screening aml laundering verification
privacy gdpr consent retention anonymize anonymise mask pii personal erasure erase compliance dataprotection
lineage catalog catalogue provenance governance stewardship quality origin
audit compliance trail control evidence
game level sprite physics collision player enemy boss fight combat weapon ability jump quest puzzle spawn difficulty
graphics shader render rendering lighting light texture particle mesh animation fps frame gpu
sound audio music volume mix mixing voice song microphone podcast
multiplayer netcode matchmaking lobby lag server reconnect ping
monetization monetize ad ads purchase offer pack currency reward store economy
firmware embedded microcontroller sensor driver hardware gpio bluetooth battery flash bootloader
crm lead opportunity deal prospect salesforce hubspot pipeline quota seller sales
support helpdesk ticket complaint complain inquiry sla escalation zendesk agent
calendar schedule scheduling appointment booking reservation slot availability shift rota
file storage s3 blob bucket upload download attachment
cms article blog content editorial headline post publish
map gis location gps coordinate geocode route address
video transcoding codec subtitle clip footage player
compiler lexer ast grammar tokenizer bytecode linker parser
accounting ledger bookkeeping reconciliation reconcile invoice expense payable receivable fiscal
finance budget forecast cashflow revenue profit margin cost treasury
hr recruiting recruit hire hiring candidate applicant interview onboarding payroll vacation absence employee staff
legal contract clause law lawsuit litigation lawyer liability compliance nda agreement
marketing campaign seo google growth launch advertising advert brand audience conversion landing newsletter socialmedia promotion
research literature paper study survey citation hypothesis experiment
education course lesson student teacher exam curriculum grade homework
health patient doctor clinic hospital diagnosis medication prescription nurse treatment symptom
travel flight hotel trip itinerary
maintenance repair technician inspection spare machine equipment breakdown
energy power solar grid meter consumption
agriculture farm crop soil irrigation harvest livestock
construction building site architect permit
property rent tenant lease landlord apartment
insurance policy claim premium underwriting
bank loan credit mortgage transfer account
robot robotics arm gripper actuator motion trajectory slam
blockchain wallet smartcontract ethereum solidity
backup restore snapshot disaster recovery replica
desktop electron window tray installer
terminal cli command shell flag argument
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
