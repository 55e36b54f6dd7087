"""The chart-fallback-agent: the same numbers as a plain table, which can show that something is missing."""

from __future__ import annotations

from common import add_panel, asked_metric, database, no_metric, own_tests

from clubhouse.charts import band_table
from clubhouse.numbers import TEAM_VALUES, bands_of
from interlock import agent

PANEL = '''"""{title}: percentiles by team, as a table."""

from __future__ import annotations

import sqlite3

from clubhouse import charts, numbers


def render(connection: sqlite3.Connection) -> str:
    metric = numbers.metric(connection, "{key}")
    return charts.band_table(metric, numbers.bands(connection, metric.key))
'''


def work(job: agent.Job) -> None:
    metric = asked_metric(job)
    if metric is None:
        no_metric(job)
        return
    teams = bands_of(job.sql(database(job), TEAM_VALUES, [metric.key], idempotent=True))
    report = job.write(f"reports/table-{metric.key}.html", band_table(metric, teams))
    panel = add_panel(job, f"table_{metric.key}", PANEL.format(title=metric.title, key=metric.key))
    if failed := own_tests(job):
        job.fail("rendering_failure", f"the dashboard does not work with the new table:\n{failed}")
    empty = [team.team for team in teams if not team.values]
    job.done(
        summary=f"{metric.title} percentiles by team are on the dashboard as a table",
        deliverables=[panel],
        blockers=[f"no {metric.title.lower()} was measured yet: {', '.join(empty)}"] if empty else [],
        recommendations=["replace the table by a chart once there are values"] if empty else [],
        artefacts=[report],
    )


if __name__ == "__main__":
    agent.main(work)
