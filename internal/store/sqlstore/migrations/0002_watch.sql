-- Watching: upstreams and what they showed, deployments, events, and whom they
-- are told to.
--
-- The words in braces are those of 0001. Columns that end in _json hold a JSON
-- object of what is only carried; what is looked for has a column beside it.
-- Names that others chose (charts, versions, keys) stand in columns in their
-- bounded form of at most 256 bytes, see tlog.BoundedName, and in full in the
-- JSON. Rows of upstream, source and route are deleted; their numbers are never
-- given again, so that whoever still works for a deleted one meets nobody else.

CREATE TABLE upstream (
-- +sqlite
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
-- +end
-- +postgres
    id            {id},
-- +end
    name          {text} NOT NULL UNIQUE,
    upstream_json {text} NOT NULL,
    created       BIGINT NOT NULL,
    created_by    {text} NOT NULL
);

CREATE TABLE source (
-- +sqlite
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
-- +end
-- +postgres
    id              {id},
-- +end
    upstream        BIGINT NOT NULL REFERENCES upstream (id),
    source_json     {text} NOT NULL,
    health_json     {text} NOT NULL,
    validators_json {text} NOT NULL,
    due             BIGINT NOT NULL,
    asked           BIGINT NOT NULL, -- 1: somebody asked for a poll since the last one began
    lease           BIGINT NOT NULL, -- the number that the holder of the lease was given, 0 for nobody
    lease_end       BIGINT NOT NULL
);
CREATE INDEX source_upstream ON source (upstream);
CREATE INDEX source_due ON source (due);

-- What is known of a version. Its row and its leaf are one transaction;
-- first_seen and log_index never change after it.
CREATE TABLE upstream_version (
    source       BIGINT NOT NULL,
    chart        {text} NOT NULL,
    version      {text} NOT NULL,
    first_seen   BIGINT NOT NULL,
    log_index    BIGINT NOT NULL,
    last_change  BIGINT NOT NULL,
    fingerprint  {text} NOT NULL,
    version_json {text} NOT NULL,
    PRIMARY KEY (source, chart, version)
){clustered};

CREATE TABLE note (
    source     BIGINT NOT NULL,
    key        {text} NOT NULL,
    upstream   BIGINT NOT NULL,
    chart      {text} NOT NULL,
    version    {text} NOT NULL,
    time       BIGINT NOT NULL, -- when it was published, or else first seen
    first_seen BIGINT NOT NULL,
    note_json  {text} NOT NULL,
    PRIMARY KEY (source, key)
);
CREATE INDEX note_time ON note (upstream, time, key);
CREATE INDEX note_chart ON note (upstream, chart, time, key);

-- Ids rise in the order of the commits: they are given under the lock of the
-- logs' heads. So whoever has read up to one has missed none.
CREATE TABLE event (
    id         {key},
    key        {text} NOT NULL UNIQUE, -- the same key is the same event
    time       BIGINT NOT NULL,
    kind       {text} NOT NULL,
    severity   BIGINT NOT NULL,        -- its rank
    upstream   {text} NOT NULL,        -- its name: events outlive it
    chart      {text} NOT NULL,
    version    {text} NOT NULL,
    deployment {text} NOT NULL,
    log_index  BIGINT NOT NULL,        -- of its leaf, 0 for none
    event_json {text} NOT NULL
);
CREATE INDEX event_old ON event (time) WHERE log_index = 0;
CREATE INDEX event_upstream ON event (upstream, id) WHERE upstream <> '';
CREATE INDEX event_deployment ON event (deployment, id) WHERE deployment <> '';

-- The keys of events that were pruned: what was told once is never news again.
CREATE TABLE pruned (
    key {text} PRIMARY KEY
){clustered};

-- Fingerprints of our own releases; those of upstreams are with the versions.
CREATE TABLE fingerprint (
    fingerprint {text} NOT NULL,
    project     {text} NOT NULL,
    chart       {text} NOT NULL,
    version     {text} NOT NULL,
    archive     {text} NOT NULL,
    PRIMARY KEY (fingerprint, project, chart, version)
){clustered};

-- How far a reader has come: 'relayed' among the events, 'fingerprinted' among
-- the leaves of the release log.
CREATE TABLE reached (
    name  {text} PRIMARY KEY,
    value BIGINT NOT NULL
);

-- The imports of deployments, when each was made last and what it said.
CREATE TABLE deployment_import (
    name        {text} PRIMARY KEY,
    time        BIGINT NOT NULL,
    import_json {text} NOT NULL
);

-- What the last import of each name brought. A row that an import brings again
-- unchanged is not written. Values and what archives are compared with stand
-- apart: they are most of it, and no list needs them.
CREATE TABLE deployment (
    key             {text} PRIMARY KEY,
    import          {text} NOT NULL,
    first_seen      BIGINT NOT NULL,
    deployment_json {text} NOT NULL,
    detail_json     {text} NOT NULL
);
CREATE INDEX deployment_of_import ON deployment (import);

-- What people say of a deployment, by its key. It stays when the deployment is
-- gone, and holds again when it is back.
CREATE TABLE declaration (
    key              {text} PRIMARY KEY,
    declaration_json {text} NOT NULL
);

CREATE TABLE route (
-- +sqlite
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
-- +end
-- +postgres
    id           {id},
-- +end
    name         {text} NOT NULL UNIQUE,
    route_json   {text} NOT NULL,
    created      BIGINT NOT NULL,
    last_success BIGINT NOT NULL,
    last_failure BIGINT NOT NULL,
    error        {text} NOT NULL -- of the last delivery, '' when it succeeded
);

CREATE TABLE delivery (
    n         {id},
    id        {text} NOT NULL UNIQUE, -- sent along, so that a receiver knows a repetition
    route     BIGINT NOT NULL,
    due       BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    state     {text} NOT NULL,
    error     {text} NOT NULL,
    lease     BIGINT NOT NULL, -- as in source
    lease_end BIGINT NOT NULL
);
CREATE INDEX delivery_route ON delivery (route, n);
CREATE INDEX delivery_due ON delivery (due) WHERE state = 'waiting';
CREATE INDEX delivery_settled ON delivery (due) WHERE state <> 'waiting';
CREATE INDEX delivery_open ON delivery (route, state) WHERE state <> 'delivered';

-- An event is told once to a route: this key sees to it.
CREATE TABLE delivery_event (
    route    BIGINT NOT NULL,
    event    BIGINT NOT NULL,
    delivery BIGINT NOT NULL, -- its n
    PRIMARY KEY (route, event)
){clustered};
CREATE INDEX delivery_event_delivery ON delivery_event (delivery);
