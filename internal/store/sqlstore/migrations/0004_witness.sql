-- What witnesses cosigned. See 0001_registry.sql for the words in braces.

-- The newest checkpoint that any witness cosigned ('newest'), and the newest
-- that met the quorum ('quorum'): two rows at most. size never goes back.
CREATE TABLE cosigned (
    kind       {text} PRIMARY KEY,
    size       BIGINT NOT NULL,
    checkpoint {bytes} NOT NULL  -- the note with the cosignatures
);

-- How it stands with each witness that was ever asked, by its key.
CREATE TABLE witness (
    vkey       {text} PRIMARY KEY,
    state_json {text} NOT NULL
);

-- One row: which process asks the witnesses, and until when.
CREATE TABLE witness_lease (
    id        {key},
    holder    {text} NOT NULL,
    lease_end BIGINT NOT NULL
);
INSERT INTO witness_lease (id, holder, lease_end) VALUES (1, '', 0);
