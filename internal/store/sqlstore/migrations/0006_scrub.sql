-- The scrub, what it found, and copies of what was refused. See
-- 0001_registry.sql for the words in braces.

-- Where the scrub stands: one row. due is when the next pass begins; who holds
-- the lease works on it.
CREATE TABLE scrub (
    id         {key},
    due        BIGINT NOT NULL,
    lease      BIGINT NOT NULL,
    lease_end  BIGINT NOT NULL,
    state_json {text} NOT NULL
);
INSERT INTO scrub (id, due, lease, lease_end, state_json) VALUES (1, 0, 0, 0, '{}');

-- What is not as the log says. resolved is 0 while it is so.
CREATE TABLE finding (
    name         {text} PRIMARY KEY,
    first        BIGINT NOT NULL,
    last         BIGINT NOT NULL,
    resolved     BIGINT NOT NULL,
    finding_json {text} NOT NULL
);
CREATE INDEX finding_open ON finding (resolved, last);

-- The leaf by which a release got its provenance after its push.
CREATE TABLE late_provenance (
    release {key},
    idx     BIGINT NOT NULL
);
-- +sqlite
INSERT INTO late_provenance (release, idx)
    SELECT CAST(substr(CAST(entry AS TEXT), 27, 20) AS INTEGER), MIN(idx) FROM leaf
    WHERE log = 1 AND substr(CAST(entry AS TEXT), 1, 26) = 'chartkeep/attach/v1' || char(10) || 'index '
    AND instr(CAST(entry AS TEXT), char(10) || 'kind prov' || char(10)) > 0 GROUP BY 1;
-- +end
-- +postgres
INSERT INTO late_provenance (release, idx)
    SELECT substring(convert_from(entry, 'UTF8') FROM '^chartkeep/attach/v1\nindex ([0-9]+)\n')::BIGINT, MIN(idx) FROM leaf
    WHERE log = 1 AND convert_from(entry, 'UTF8') ~ '^chartkeep/attach/v1\nindex [0-9]+\n'
    AND position(E'\nkind prov\n' IN convert_from(entry, 'UTF8')) > 0 GROUP BY 1;
-- +end

CREATE INDEX audit_time ON audit (time);

-- What was offered for a released version and refused. The bytes lie beside
-- the blobs, where no door looks, once for each digest.
CREATE TABLE refused (
    digest  {text} NOT NULL,
    project {text} NOT NULL,
    chart   {text} NOT NULL,
    version {text} NOT NULL,
    size    BIGINT NOT NULL,
    door    {text} NOT NULL,
    actor   {text} NOT NULL,  -- of the last offer
    first   BIGINT NOT NULL,
    last    BIGINT NOT NULL,
    times   BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (digest, project, chart, version)
);
CREATE INDEX refused_project ON refused (project, last);
CREATE INDEX refused_expires ON refused (expires);
