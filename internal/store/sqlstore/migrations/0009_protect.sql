-- What needs a second person: requests, quarantines, tombstones.
--
-- The words in braces are those of 0001. A column "due" is the whole schedule of
-- its row: when the server has to do something about it by itself, 0 for never.

-- Who had a hand in making an account or a token, and in setting a password:
-- account ids with a space between. Somebody who asks for something must not be
-- able to lend himself a second person. Empty: from before.
ALTER TABLE account ADD COLUMN made_by {text} NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN password_by {text} NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN password_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE token ADD COLUMN made_by {text} NOT NULL DEFAULT '';

-- Something that one person asks for and another decides. Columns that end in
-- _leaf hold an identity as it stands in leaves: issuer and subject.
CREATE TABLE request (
    id             {id},
    kind           {text} NOT NULL,
    project        BIGINT NOT NULL REFERENCES project (id),
    release        BIGINT NOT NULL,  -- 0: the request is about the project
    before         {text} NOT NULL,  -- digest of the policy that is to be replaced
    after          {text} NOT NULL,
    document       {text} NOT NULL,  -- the policy, as canonical JSON
    reason         {text} NOT NULL,
    text           {text} NOT NULL,
    requester      {text} NOT NULL,  -- account
    requester_leaf {text} NOT NULL,
    made           BIGINT NOT NULL,
    expires        BIGINT NOT NULL,
    state          {text} NOT NULL,
    due            BIGINT NOT NULL,  -- while waiting when it lapses, when approved when it takes effect, 0 when it is over
    decider        {text} NOT NULL,
    decider_leaf   {text} NOT NULL,
    decided        BIGINT NOT NULL,
    effective      BIGINT NOT NULL,
    answer         {text} NOT NULL   -- what the decider, or whoever ended it, said
);
-- One open request of a kind for one thing.
CREATE UNIQUE INDEX request_open ON request (kind, project, release) WHERE due > 0;
CREATE INDEX request_due ON request (due) WHERE due > 0;

CREATE TABLE quarantine (
    id           {id},
    release      BIGINT NOT NULL,
    before       {text} NOT NULL,  -- state of the release, to which it returns
    open         BIGINT NOT NULL,  -- 1: the release is blocked by it
    ending       {text} NOT NULL,  -- lifted, lapsed or tombstoned; '' while open
    reason       {text} NOT NULL,
    text         {text} NOT NULL,
    set_by       {text} NOT NULL,  -- account or token
    person       {text} NOT NULL,  -- the account behind it, whom a second one must differ from
    time         BIGINT NOT NULL,
    idx          BIGINT NOT NULL,  -- of its leaf
    lapses       BIGINT NOT NULL,  -- unless it is confirmed before
    due          BIGINT NOT NULL,  -- first when half of the time is gone, then lapses; 0 when nothing is due
    confirmed_by {text} NOT NULL,
    confirmed    BIGINT NOT NULL,
    ended_by     {text} NOT NULL,
    ended        BIGINT NOT NULL,
    ended_text   {text} NOT NULL
);
-- A release is in one quarantine at a time.
CREATE UNIQUE INDEX quarantine_open ON quarantine (release) WHERE open = 1;
CREATE INDEX quarantine_due ON quarantine (due) WHERE due > 0;
CREATE INDEX quarantine_release ON quarantine (release, id);

CREATE TABLE tombstone (
    release   {key},
    reason    {text} NOT NULL,
    text      {text} NOT NULL,
    requester {text} NOT NULL,
    approver  {text} NOT NULL,
    time      BIGINT NOT NULL,
    idx       BIGINT NOT NULL,
    request   BIGINT NOT NULL
);

-- What readers of a repository do not get: the manifest and the blobs of a
-- release in quarantine, or of one that has a tombstone.
CREATE TABLE withheld (
    repository BIGINT NOT NULL,
    digest     {text} NOT NULL,
    release    BIGINT NOT NULL,
    PRIMARY KEY (repository, digest, release)
){clustered};

-- Large blobs whose bytes have to go, unless something else needs them. Nobody
-- stores such a blob anew while its row waits, see Store.Erasing.
CREATE TABLE erasure (
    digest {text} PRIMARY KEY,
    due    BIGINT NOT NULL,  -- 0 when it is settled
    done   BIGINT NOT NULL,
    kept   {text} NOT NULL   -- what needs the bytes, '' when they are gone
);
CREATE INDEX erasure_due ON erasure (due) WHERE due > 0;

-- Which releases have these bytes.
CREATE INDEX release_archive ON release (archive);
CREATE INDEX release_manifest ON release (manifest);
CREATE INDEX release_withheld ON release (project, id) WHERE state = 'quarantined' OR state = 'tombstoned';

-- A tombstone empties the index entry of its release, which holds text of the
-- chart, and is final.
-- +sqlite
DROP TRIGGER release_freeze;
CREATE TRIGGER release_freeze BEFORE UPDATE OF id, project, chart, version, version_key, sort_key, tag, file, archive,
    size, content, manifest, config, publisher, door, time, legacy ON release
    BEGIN SELECT RAISE(ABORT, 'a release never changes'); END;
CREATE TRIGGER release_fragment BEFORE UPDATE OF fragment ON release
    WHEN NOT (NEW.state = 'tombstoned' AND LENGTH(NEW.fragment) = 0)
    BEGIN SELECT RAISE(ABORT, 'a release never changes'); END;
CREATE TRIGGER release_tombstone BEFORE UPDATE OF state ON release
    WHEN OLD.state = 'tombstoned' AND NEW.state <> OLD.state
    BEGIN SELECT RAISE(ABORT, 'a tombstone is final'); END;
CREATE TRIGGER tombstone_keep BEFORE DELETE ON tombstone
    BEGIN SELECT RAISE(ABORT, 'a tombstone is final'); END;
CREATE TRIGGER tombstone_freeze BEFORE UPDATE ON tombstone
    BEGIN SELECT RAISE(ABORT, 'a tombstone is final'); END;
CREATE TRIGGER quarantine_keep BEFORE DELETE ON quarantine
    BEGIN SELECT RAISE(ABORT, 'a quarantine is never deleted'); END;
CREATE TRIGGER request_keep BEFORE DELETE ON request
    BEGIN SELECT RAISE(ABORT, 'a request is never deleted'); END;
CREATE TRIGGER request_freeze BEFORE UPDATE OF id, kind, project, release, before, after, document, reason, text, requester, requester_leaf, made, expires ON request
    BEGIN SELECT RAISE(ABORT, 'a request never changes'); END;
-- +end
-- +postgres
DROP TRIGGER release_freeze ON release;
CREATE TRIGGER release_freeze BEFORE UPDATE OF id, project, chart, version, version_key, sort_key, tag, file, archive,
    size, content, manifest, config, publisher, door, time, legacy ON release
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER release_fragment BEFORE UPDATE OF fragment ON release
    FOR EACH ROW WHEN (NOT (NEW.state = 'tombstoned' AND LENGTH(NEW.fragment) = 0)) EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER release_tombstone BEFORE UPDATE OF state ON release
    FOR EACH ROW WHEN (OLD.state = 'tombstoned' AND NEW.state <> OLD.state) EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER tombstone_keep BEFORE DELETE OR UPDATE OR TRUNCATE ON tombstone
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER quarantine_keep BEFORE DELETE OR TRUNCATE ON quarantine
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER request_keep BEFORE DELETE OR TRUNCATE ON request
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER request_freeze BEFORE UPDATE OF id, kind, project, release, before, after, document, reason, text, requester, requester_leaf, made, expires ON request
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
-- +end
