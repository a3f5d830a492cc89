-- The registry: projects, identities, releases, the OCI side, both logs.
--
-- One text for both databases. Words in braces differ between them and are
-- filled in by dialect.go: {id} an identity column, {key} a whole number that
-- the row is stored under, {bytes} a byte string, {text} text that sorts by its
-- bytes.
-- Lines between "-- +sqlite" or "-- +postgres" and "-- +end" go to one alone.
-- Times are Unix milliseconds, flags are 0 or 1.

CREATE TABLE meta (
    key   {text} PRIMARY KEY,
    value {text} NOT NULL
);

-- The head of a log is the only row whose loss could fork it. 1 is the release
-- log, 2 the audit log.
CREATE TABLE head (
    log        {key},
    size       BIGINT NOT NULL,
    root       {bytes} NOT NULL,
    checkpoint {bytes} NOT NULL,
    time       BIGINT NOT NULL
);

CREATE TABLE leaf (
    log   BIGINT NOT NULL,
    idx   BIGINT NOT NULL,
    hash  {bytes} NOT NULL,
    entry {bytes} NOT NULL,
    PRIMARY KEY (log, idx)
){clustered};

-- Full tiles alone: the right edge is made from leaves and roots.
CREATE TABLE tile (
    log    BIGINT NOT NULL,
    level  BIGINT NOT NULL,
    n      BIGINT NOT NULL,
    hashes {bytes} NOT NULL,
    root   {bytes} NOT NULL,
    PRIMARY KEY (log, level, n)
);

CREATE TABLE project (
    id            {id},
    name          {text} NOT NULL UNIQUE,
    kind          {text} NOT NULL,
    public        BIGINT NOT NULL,
    state         {text} NOT NULL,
    policy        {text} NOT NULL,
    policy_digest {text} NOT NULL,
    artifacthub   {text} NOT NULL, -- id of the repository on Artifact Hub, '' for none
    generation    BIGINT NOT NULL,
    changed       BIGINT NOT NULL,
    created       BIGINT NOT NULL,
    created_by    {text} NOT NULL
);

CREATE TABLE account (
    id       {text} PRIMARY KEY,
    name     {text} NOT NULL UNIQUE,
    kind     {text} NOT NULL,
    password {text} NOT NULL,
    disabled BIGINT NOT NULL,
    created  BIGINT NOT NULL
);

-- subject is the id of an account or of a token.
CREATE TABLE access_grant (
    id       {text} PRIMARY KEY,
    subject  {text} NOT NULL,
    role     {text} NOT NULL,
    project  {text} NOT NULL,
    chart    {text} NOT NULL,
    versions {text} NOT NULL,
    expires  BIGINT NOT NULL,
    created  BIGINT NOT NULL
);
CREATE INDEX access_grant_subject ON access_grant (subject);

CREATE TABLE token (
    id        {text} PRIMARY KEY,
    hash      {bytes} NOT NULL,
    account   {text} NOT NULL REFERENCES account (id), -- its owner, or who made it for a project
    personal  BIGINT NOT NULL,                       -- 1: never more than the account may do
    name      {text} NOT NULL,
    created   BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    revoked   BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE INDEX token_account ON token (account);

CREATE TABLE release (
    id          {key},           -- the index of its leaf in the release log
    project     BIGINT NOT NULL REFERENCES project (id),
    chart       {text} NOT NULL,
    version     {text} NOT NULL,
    version_key {text},            -- null: a legacy release whose identity another one holds
    sort_key    {text} NOT NULL,
    tag         {text} NOT NULL,
    file        {text} NOT NULL,
    archive     {text} NOT NULL,
    size        BIGINT NOT NULL,
    content     {text} NOT NULL,
    manifest    {text} NOT NULL,
    config      {text} NOT NULL,
    publisher   {text} NOT NULL,
    door        {text} NOT NULL,
    time        BIGINT NOT NULL,
    legacy      BIGINT NOT NULL,
    fragment    {bytes} NOT NULL,
    -- What may change, see the triggers below.
    state       {text} NOT NULL,
    generation  BIGINT NOT NULL,
    provenance  {text} NOT NULL,
    yank_reason {text} NOT NULL DEFAULT '',
    yank_text   {text} NOT NULL DEFAULT '',
    yank_by     {text} NOT NULL DEFAULT '',
    yank_time   BIGINT NOT NULL DEFAULT 0,
    yank_index  BIGINT NOT NULL DEFAULT 0
);
-- The claim. Who inserts first has released; nothing looks before.
CREATE UNIQUE INDEX release_version ON release (project, chart, version_key);
-- Helm packs foo@1.0.0-2.0.0 and foo-1.0.0@2.0.0 into one file name. This also
-- makes (project, chart, version) unique, since a file name follows from them.
CREATE UNIQUE INDEX release_file ON release (project, file);
-- The order of an index. With state, counting and listing read it alone.
CREATE INDEX release_order ON release (project, chart, sort_key DESC, id, state);
CREATE INDEX release_generation ON release (project, generation);

CREATE TABLE repository (
    id      {id},
    project BIGINT NOT NULL REFERENCES project (id),
    name    {text} NOT NULL UNIQUE
);

-- What names a repository below does so without REFERENCES: repositories are
-- never deleted, and each row would pay for a look-up.
CREATE TABLE manifest (
    repository    BIGINT NOT NULL,
    digest        {text} NOT NULL,
    media_type    {text} NOT NULL,
    artifact_type {text} NOT NULL,
    subject       {text} NOT NULL,
    annotations   {text} NOT NULL,
    bytes         {bytes} NOT NULL,
    visible       BIGINT NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX manifest_subject ON manifest (repository, subject) WHERE subject <> '';

-- hidden: 0 listed, 1 of a yanked release (served, not listed), 2 of a staged
-- release (neither).
CREATE TABLE tag (
    repository BIGINT NOT NULL,
    name       {text} NOT NULL,
    digest     {text} NOT NULL,
    release    BIGINT NOT NULL,  -- 0: not the tag of a release
    hidden     BIGINT NOT NULL,
    PRIMARY KEY (repository, name)
){clustered};

-- A blob is visible in a repository only through its link.
CREATE TABLE link (
    repository BIGINT NOT NULL,
    digest     {text} NOT NULL,
    size       BIGINT NOT NULL,
    small      BIGINT NOT NULL, -- 1: its bytes are in table blob
    PRIMARY KEY (repository, digest)
){clustered};
CREATE INDEX link_digest ON link (digest);

-- Configs, provenances and other small blobs.
CREATE TABLE blob (
    digest {text} PRIMARY KEY,
    bytes  {bytes} NOT NULL
);

-- What is asked of audit events; the event itself is the leaf of log 2.
CREATE TABLE audit (
    idx     {key},
    time    BIGINT NOT NULL,
    action  {text} NOT NULL,
    outcome {text} NOT NULL,
    project {text} NOT NULL,
    chart   {text} NOT NULL,
    version {text} NOT NULL,
    actor   {text} NOT NULL,
    -- Where it came from is personal data: the leaf has a salted digest of it
    -- alone, so that it can be forgotten here.
    ip      {text} NOT NULL,
    agent   {text} NOT NULL,
    salt    {bytes} NOT NULL
);
CREATE INDEX audit_project ON audit (project, idx);
CREATE INDEX audit_action ON audit (action, idx);

-- Audit events that wait to be told to the world.
CREATE TABLE outbox (
    idx {key}
);

-- What is released stays: not a defence against the owner of the database,
-- but against our own mistakes.
-- +sqlite
CREATE TRIGGER release_keep BEFORE DELETE ON release
    BEGIN SELECT RAISE(ABORT, 'a release is never deleted'); END;
CREATE TRIGGER release_freeze BEFORE UPDATE OF id, project, chart, version, version_key, sort_key, tag, file, archive,
    size, content, manifest, config, publisher, door, time, legacy, fragment ON release
    BEGIN SELECT RAISE(ABORT, 'a release never changes'); END;
CREATE TRIGGER release_provenance BEFORE UPDATE OF provenance ON release
    WHEN OLD.provenance <> '' AND NEW.provenance <> OLD.provenance
    BEGIN SELECT RAISE(ABORT, 'a provenance is never replaced'); END;
CREATE TRIGGER manifest_freeze BEFORE UPDATE OF repository, digest, media_type, artifact_type, subject, annotations, bytes ON manifest
    BEGIN SELECT RAISE(ABORT, 'a manifest never changes'); END;
CREATE TRIGGER blob_freeze BEFORE UPDATE ON blob
    BEGIN SELECT RAISE(ABORT, 'a blob never changes'); END;
CREATE TRIGGER head_keep BEFORE DELETE ON head
    BEGIN SELECT RAISE(ABORT, 'the head of a log is never deleted'); END;
CREATE TRIGGER leaf_keep BEFORE DELETE ON leaf
    BEGIN SELECT RAISE(ABORT, 'a leaf is never deleted'); END;
CREATE TRIGGER leaf_freeze BEFORE UPDATE ON leaf
    BEGIN SELECT RAISE(ABORT, 'a leaf never changes'); END;
CREATE TRIGGER tile_keep BEFORE DELETE ON tile
    BEGIN SELECT RAISE(ABORT, 'a tile is never deleted'); END;
CREATE TRIGGER tile_freeze BEFORE UPDATE ON tile
    BEGIN SELECT RAISE(ABORT, 'a tile never changes'); END;
CREATE TRIGGER repository_keep BEFORE DELETE ON repository
    BEGIN SELECT RAISE(ABORT, 'a repository is never deleted'); END;
CREATE TRIGGER project_keep BEFORE DELETE ON project
    BEGIN SELECT RAISE(ABORT, 'a project is never deleted'); END;
CREATE TRIGGER project_freeze BEFORE UPDATE OF id, name, kind ON project
    BEGIN SELECT RAISE(ABORT, 'a project keeps its name and kind'); END;
-- +end
-- +postgres
CREATE FUNCTION chartkeep_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE TRIGGER release_keep BEFORE DELETE OR TRUNCATE ON release
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER release_freeze BEFORE UPDATE OF id, project, chart, version, version_key, sort_key, tag, file, archive,
    size, content, manifest, config, publisher, door, time, legacy, fragment ON release
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER release_provenance BEFORE UPDATE OF provenance ON release
    FOR EACH ROW WHEN (OLD.provenance <> '' AND NEW.provenance <> OLD.provenance) EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER manifest_freeze BEFORE UPDATE OF repository, digest, media_type, artifact_type, subject, annotations, bytes ON manifest
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER blob_freeze BEFORE UPDATE ON blob
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER head_keep BEFORE DELETE OR TRUNCATE ON head
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER leaf_keep BEFORE DELETE OR UPDATE OR TRUNCATE ON leaf
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER tile_keep BEFORE DELETE OR UPDATE OR TRUNCATE ON tile
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER repository_keep BEFORE DELETE OR TRUNCATE ON repository
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER project_keep BEFORE DELETE OR TRUNCATE ON project
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER project_freeze BEFORE UPDATE OF id, name, kind ON project
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
-- +end
