"""The analytics-visualization-agent: percentiles by team as a chart on the dashboard."""

from __future__ import annotations

from common import add_panel, asked_metric, database, no_metric, own_tests

from clubhouse.charts import NothingToDrawError, percentile_bands
from clubhouse.numbers import TEAM_VALUES, Bands, Metric, bands_of
from interlock import agent

PANEL = '''"""{title}: percentiles by team."""

from __future__ import annotations

import sqlite3

from clubhouse import charts, numbers


def render(connection: sqlite3.Connection) -> str:
    metric = numbers.metric(connection, "{key}")
    try:
        return charts.percentile_bands(metric, numbers.bands(connection, metric.key))
    except charts.NothingToDrawError as nothing:
        return f"<p>{{nothing}}</p>"
'''
VIEW = "SELECT teams.name, value FROM percentile_bands JOIN teams ON teams.id = team_id WHERE metric = ? ORDER BY teams.id, percent"


def agreed(job: agent.Job, metric: Metric, teams: list[Bands]) -> str:
    """Compare with the database's own percentiles, when the schema agent has handed them over."""
    if not any("percentile_bands" in text for result in job.handed_over.values() for text in result.deliverables):
        return "computed from the measurements"
    stored: dict[str, list[float]] = {}
    for team, value in job.sql(database(job), VIEW, [metric.key], idempotent=True):
        stored.setdefault(team, []).append(value)
    for team in teams:
        pairs = zip(team.values, stored.get(team.team, []), strict=False)
        if len(stored.get(team.team, [])) != len(team.values) or any(abs(one - other) > 0.011 for one, other in pairs):
            job.fail("schema_conflict", f"percentile_bands and the measurements of {team.team} do not agree")
    return "computed from the measurements, and the same in percentile_bands"


def work(job: agent.Job) -> None:
    metric = asked_metric(job)
    if metric is None:
        no_metric(job)
        return
    teams = bands_of(job.sql(database(job), TEAM_VALUES, [metric.key], idempotent=True))
    try:
        chart = percentile_bands(metric, teams)
    except NothingToDrawError as nothing:
        job.fail("rendering_failure", f"{nothing}: nothing to draw")
    source = agreed(job, metric, teams)
    report = job.write(f"reports/percentiles-{metric.key}.svg", chart)
    panel = add_panel(job, f"percentiles_{metric.key}", PANEL.format(title=metric.title, key=metric.key))
    if failed := own_tests(job):
        job.fail("rendering_failure", f"the dashboard does not work with the new panel:\n{failed}")
    medians = ", ".join(f"{team.team} {team.values[2]:g}" for team in teams if team.values)
    job.done(
        summary=f"{metric.title} percentiles by team are on the dashboard; medians in {metric.unit}: {medians}",
        deliverables=[panel, f"{sum(team.count for team in teams)} values, {source}"],
        next_steps=["look at the chart and say whether the bands are the right ones"],
        artefacts=[report],
    )


if __name__ == "__main__":
    agent.main(work)
