-- up
CREATE TABLE teams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    sport TEXT NOT NULL
);
CREATE TABLE athletes (
    id INTEGER PRIMARY KEY,
    team_id INTEGER NOT NULL REFERENCES teams (id),
    name TEXT NOT NULL,
    born INTEGER NOT NULL CHECK (born BETWEEN 1940 AND 2030)
);
CREATE TABLE coaches (
    id INTEGER PRIMARY KEY,
    team_id INTEGER NOT NULL REFERENCES teams (id),
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('head_coach', 'coach', 'guest')),
    token_digest TEXT UNIQUE
);
CREATE INDEX athletes_by_team ON athletes (team_id);
-- down
DROP INDEX athletes_by_team;
DROP TABLE coaches;
DROP TABLE athletes;
DROP TABLE teams;
