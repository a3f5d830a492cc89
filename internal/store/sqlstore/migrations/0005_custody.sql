-- Custody: what is kept beside the database has notices for the audit log, such
-- as that a backup was made. These were told, by the event of that index.
--
-- The words in braces are those of 0001. Checkpoints and entries are kept beside
-- the blobs and not here: they are there for the day on which this database is
-- an old one.

CREATE TABLE notice (
    name {text} PRIMARY KEY,
    idx  BIGINT NOT NULL
){clustered};
