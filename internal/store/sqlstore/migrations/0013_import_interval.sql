-- How often an import of deployments said that it is made. A row is there while
-- an interval is declared.
CREATE TABLE import_interval (
    name  {text} PRIMARY KEY,  -- of the import
    every BIGINT NOT NULL,     -- milliseconds
    due   BIGINT NOT NULL      -- from when its silence is told of, 0 once it was
);
CREATE INDEX import_silence ON import_interval (due) WHERE due <> 0;
