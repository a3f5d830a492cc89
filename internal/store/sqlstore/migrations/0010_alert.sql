-- Alerts: the same alarming event of the audit trail, counted. An event of the
-- watch (table event) tells of it.

CREATE TABLE alert (
    id         {id},
    key        {text} NOT NULL,  -- what makes events one alert
    name       {text} NOT NULL,  -- of the audit event
    actor      {text} NOT NULL,  -- name when it happened first
    count      BIGINT NOT NULL,
    first      BIGINT NOT NULL,
    last       BIGINT NOT NULL,
    first_idx  BIGINT NOT NULL,  -- in the audit log
    last_idx   BIGINT NOT NULL,
    told       BIGINT NOT NULL,  -- the count that was told last
    ended      BIGINT NOT NULL,  -- 0 while it may go on
    event_json {text} NOT NULL   -- as it was told first
);
CREATE UNIQUE INDEX alert_open ON alert (key) WHERE ended = 0;
CREATE INDEX alert_ended ON alert (ended) WHERE ended <> 0;
CREATE INDEX alert_key ON alert (key, last_idx);
