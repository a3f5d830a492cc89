-- Judging: feeds of advisories and their snapshots, policies, windows, waivers,
-- what is open on deployments and since when, reviews and sign-offs, plans,
-- upgrades, tickets.
--
-- As in 0002. Columns that end in _pack hold a JSON object as DEFLATE: these
-- documents have hundreds of kilobytes and say the same words again and again.
-- Numbers of feeds, trackers and tickets are never given again.

-- Numbers that rise when something changes: 'inputs' with what judgements are
-- made from.
CREATE TABLE counter (
    name  {text} PRIMARY KEY,
    value BIGINT NOT NULL
);

-- States of feeds. Reviews name them, so they outlive their feed.
CREATE TABLE snapshot (
    id            {id},
    feed          {text} NOT NULL, -- its name
    digest        {text} NOT NULL,
    taken         BIGINT NOT NULL,
    snapshot_json {text} NOT NULL
);
CREATE INDEX snapshot_feed ON snapshot (feed, id);

CREATE TABLE feed (
-- +sqlite
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
-- +end
-- +postgres
    id              {id},
-- +end
    name            {text} NOT NULL UNIQUE,
    feed_json       {text} NOT NULL,
    health_json     {text} NOT NULL,
    validators_json {text} NOT NULL,
    created         BIGINT NOT NULL,
    created_by      {text} NOT NULL,
    current         BIGINT NOT NULL, -- id of the snapshot in use, 0 for none
    due             BIGINT NOT NULL, -- 0: it is imported by hand alone
    asked           BIGINT NOT NULL, -- as in source, with the next two
    lease           BIGINT NOT NULL,
    lease_end       BIGINT NOT NULL
);
CREATE INDEX feed_due ON feed (due) WHERE due > 0;

CREATE TABLE policy (
    id          {id},
    policy_json {text} NOT NULL
);

CREATE TABLE change_window (
    name        {text} PRIMARY KEY,
    window_json {text} NOT NULL
);

CREATE TABLE waiver (
    id          {id},
    expires     BIGINT NOT NULL,
    ended       BIGINT NOT NULL, -- 0: it was not taken back
    waiver_json {text} NOT NULL
);
CREATE INDEX waiver_expires ON waiver (expires);

-- The newest assessment of each deployment.
CREATE TABLE assessment (
    deployment      {text} PRIMARY KEY,
    summary_json    {text} NOT NULL,
    light_pack      {bytes} NOT NULL, -- what lists are made from
    assessment_pack {bytes} NOT NULL
);

CREATE TABLE review (
    id            {id},
    digest        {text} NOT NULL UNIQUE, -- the same digest is the same review
    deployment    {text} NOT NULL,
    chart         {text} NOT NULL,
    to_version    {text} NOT NULL,
    light_json    {text} NOT NULL, -- what lists show
    review_pack   {bytes} NOT NULL,
    -- What may change, see the triggers below.
    state         {text} NOT NULL,
    signoffs_json {text} NOT NULL
);
CREATE INDEX review_deployment ON review (deployment, id);
CREATE INDEX review_chart ON review (chart, id);
CREATE INDEX review_state ON review (state, id);
CREATE INDEX review_open ON review (deployment, to_version) WHERE state = 'open';

-- What was open on a deployment and for how long.
CREATE TABLE exposure (
    id          {id},
    deployment  {text} NOT NULL,
    key         {text} NOT NULL,
    environment {text} NOT NULL,
    severity    {text} NOT NULL,
    kind        {text} NOT NULL,
    opened      BIGINT NOT NULL,
    closed      BIGINT NOT NULL, -- 0: it is open
    how         {text} NOT NULL,
    deadline    BIGINT NOT NULL,
    names_json  {text} NOT NULL  -- in full those names whose columns have the bounded form; '' mostly
);
-- A finding is open once on a deployment: this key sees to it.
CREATE UNIQUE INDEX exposure_open ON exposure (deployment, key) WHERE closed = 0;
CREATE INDEX exposure_closed ON exposure (closed) WHERE closed > 0;

-- The newest plan of each deployment, and those before that an upgrade names.
CREATE TABLE plan (
    digest     {text} PRIMARY KEY,
    deployment {text} NOT NULL,
    newest     BIGINT NOT NULL,
    due        BIGINT NOT NULL,
    plan_pack  {bytes} NOT NULL
);
CREATE UNIQUE INDEX plan_newest ON plan (deployment) WHERE newest = 1;
CREATE INDEX plan_before ON plan (deployment) WHERE newest = 0;

CREATE TABLE upgrade (
    id           {id},
    deployment   {text} NOT NULL,
    to_version   {text} NOT NULL,
    state        {text} NOT NULL,
    open         BIGINT NOT NULL, -- 1: somebody still has to do something
    owner        {text} NOT NULL,
    due          BIGINT NOT NULL,
    since        BIGINT NOT NULL, -- in this state
    plan         {text} NOT NULL, -- digest
    upgrade_json {text} NOT NULL
);
-- A deployment has one open upgrade to a version: this key sees to it.
CREATE UNIQUE INDEX upgrade_open ON upgrade (deployment, to_version) WHERE open = 1;
CREATE INDEX upgrade_closed ON upgrade (since, id) WHERE open = 0;
CREATE INDEX upgrade_deployment ON upgrade (deployment, since, id) WHERE open = 0;
CREATE INDEX upgrade_plan ON upgrade (plan) WHERE plan <> '';

CREATE TABLE tracker (
-- +sqlite
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
-- +end
-- +postgres
    id           {id},
-- +end
    name         {text} NOT NULL UNIQUE,
    tracker_json {text} NOT NULL,
    created      BIGINT NOT NULL
);

CREATE TABLE ticket (
-- +sqlite
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
-- +end
-- +postgres
    id        {id},
-- +end
    tracker   BIGINT NOT NULL,
    upgrade   BIGINT NOT NULL,
    marker    {text} NOT NULL,
    wanted    {text} NOT NULL, -- digest of the text that the issue should have
    digest    {text} NOT NULL, -- of the one that it has
    number    BIGINT NOT NULL,
    url       {text} NOT NULL,
    state     {text} NOT NULL,
    error     {text} NOT NULL,
    attempts  BIGINT NOT NULL,
    due       BIGINT NOT NULL, -- 0: nothing is to be done
    asked     BIGINT NOT NULL, -- as in source, with the next two
    lease     BIGINT NOT NULL,
    lease_end BIGINT NOT NULL
);
-- An upgrade has one ticket in a tracker: this key sees to it.
CREATE UNIQUE INDEX ticket_upgrade ON ticket (upgrade, tracker);
CREATE INDEX ticket_tracker ON ticket (tracker, id);
CREATE INDEX ticket_due ON ticket (due) WHERE due > 0;

-- What was judged, by what, and for how long it was open stays: not a defence
-- against the owner of the database, but against our own mistakes.
-- +sqlite
CREATE TRIGGER snapshot_keep BEFORE DELETE ON snapshot
    BEGIN SELECT RAISE(ABORT, 'a snapshot is never deleted'); END;
CREATE TRIGGER snapshot_freeze BEFORE UPDATE ON snapshot
    BEGIN SELECT RAISE(ABORT, 'a snapshot never changes'); END;
CREATE TRIGGER policy_keep BEFORE DELETE ON policy
    BEGIN SELECT RAISE(ABORT, 'a policy is never deleted'); END;
CREATE TRIGGER policy_freeze BEFORE UPDATE ON policy
    BEGIN SELECT RAISE(ABORT, 'a policy never changes'); END;
CREATE TRIGGER waiver_keep BEFORE DELETE ON waiver
    BEGIN SELECT RAISE(ABORT, 'a waiver is never deleted'); END;
CREATE TRIGGER review_keep BEFORE DELETE ON review
    BEGIN SELECT RAISE(ABORT, 'a review is never deleted'); END;
CREATE TRIGGER review_freeze BEFORE UPDATE OF id, digest, deployment, chart, to_version, light_json, review_pack ON review
    BEGIN SELECT RAISE(ABORT, 'a review never changes'); END;
CREATE TRIGGER exposure_keep BEFORE DELETE ON exposure
    BEGIN SELECT RAISE(ABORT, 'an exposure is never deleted'); END;
CREATE TRIGGER exposure_freeze BEFORE UPDATE OF id, deployment, key, opened ON exposure
    BEGIN SELECT RAISE(ABORT, 'an exposure never changes its beginning'); END;
CREATE TRIGGER exposure_end BEFORE UPDATE ON exposure WHEN OLD.closed <> 0
    BEGIN SELECT RAISE(ABORT, 'an exposure that ended never changes'); END;
CREATE TRIGGER upgrade_keep BEFORE DELETE ON upgrade
    BEGIN SELECT RAISE(ABORT, 'an upgrade is never deleted'); END;
CREATE TRIGGER upgrade_freeze BEFORE UPDATE OF id, deployment, to_version ON upgrade
    BEGIN SELECT RAISE(ABORT, 'an upgrade never changes what it is of'); END;
-- +end
-- +postgres
CREATE TRIGGER snapshot_keep BEFORE DELETE OR UPDATE OR TRUNCATE ON snapshot
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER policy_keep BEFORE DELETE OR UPDATE OR TRUNCATE ON policy
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER waiver_keep BEFORE DELETE OR TRUNCATE ON waiver
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER review_keep BEFORE DELETE OR TRUNCATE ON review
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER review_freeze BEFORE UPDATE OF id, digest, deployment, chart, to_version, light_json, review_pack ON review
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER exposure_keep BEFORE DELETE OR TRUNCATE ON exposure
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER exposure_freeze BEFORE UPDATE OF id, deployment, key, opened ON exposure
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER exposure_end BEFORE UPDATE ON exposure
    FOR EACH ROW WHEN (OLD.closed <> 0) EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER upgrade_keep BEFORE DELETE OR TRUNCATE ON upgrade
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER upgrade_freeze BEFORE UPDATE OF id, deployment, to_version ON upgrade
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
-- +end
