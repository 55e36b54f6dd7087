-- up
CREATE TABLE metrics (
    key TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    unit TEXT NOT NULL,
    lower_is_better INTEGER NOT NULL CHECK (lower_is_better IN (0, 1))
);
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    athlete_id INTEGER NOT NULL REFERENCES athletes (id),
    metric TEXT NOT NULL REFERENCES metrics (key),
    value REAL NOT NULL CHECK (value > 0),
    measured_on TEXT NOT NULL
);
CREATE INDEX measurements_by_metric ON measurements (metric, athlete_id);
-- down
DROP INDEX measurements_by_metric;
DROP TABLE measurements;
DROP TABLE metrics;
