-- Signatures: policies by their digest, and what came of each signature.
--
-- The words in braces are those of 0001.

-- Every policy that a project had, so that the digest in a leaf can be
-- resolved. Written in the transaction that brings the policy into force.
CREATE TABLE policy_document (
    digest   {text} NOT NULL,
    project  BIGINT NOT NULL REFERENCES project (id),
    document {text} NOT NULL,  -- canonical JSON: its SHA-256 is the digest
    time     BIGINT NOT NULL,
    PRIMARY KEY (digest, project)
);
INSERT INTO policy_document (digest, project, document, time) SELECT policy_digest, id, policy, changed FROM project;

-- What came of looking at a signature of a release. It is looked at again as
-- long as the release is staged, and stays as it is afterwards.
CREATE TABLE signature (
    release  BIGINT NOT NULL,
    digest   {text} NOT NULL,  -- of the provenance file, or of the OCI manifest that carries a bundle
    kind     {text} NOT NULL,
    verified BIGINT NOT NULL,
    policy   {text} NOT NULL,  -- digest of the policy by which it was judged
    document {text} NOT NULL,  -- all that is known, as JSON
    PRIMARY KEY (release, digest)
);

-- The releases of a project that wait, and the release of a manifest.
CREATE INDEX release_staged ON release (project, id) WHERE state = 'staged';
CREATE INDEX tag_release ON tag (repository, digest) WHERE release > 0;

-- +sqlite
CREATE TRIGGER policy_document_keep BEFORE DELETE ON policy_document
    BEGIN SELECT RAISE(ABORT, 'a policy is never forgotten'); END;
CREATE TRIGGER policy_document_freeze BEFORE UPDATE ON policy_document
    BEGIN SELECT RAISE(ABORT, 'a policy never changes under its digest'); END;
CREATE TRIGGER signature_keep BEFORE DELETE ON signature
    BEGIN SELECT RAISE(ABORT, 'a signature is never deleted'); END;
-- +end
-- +postgres
CREATE TRIGGER policy_document_keep BEFORE DELETE OR UPDATE OR TRUNCATE ON policy_document
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
CREATE TRIGGER signature_keep BEFORE DELETE OR TRUNCATE ON signature
    FOR EACH STATEMENT EXECUTE FUNCTION chartkeep_keep();
-- +end
