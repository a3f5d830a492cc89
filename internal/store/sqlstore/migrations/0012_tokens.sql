-- Where each token was used from, the last 64 addresses of it: an IPv4 address
-- or an IPv6 network of 64 bits. Removed when the token ends.
CREATE TABLE token_source (
    token   {text} NOT NULL REFERENCES token (id),
    network {text} NOT NULL,
    first   BIGINT NOT NULL,
    last    BIGINT NOT NULL,
    PRIMARY KEY (token, network)
);

-- When a token ended that nothing is to be told of any more: its end was told,
-- or it is one of the short ones of pipelines. 0: not yet.
ALTER TABLE token ADD COLUMN ended BIGINT NOT NULL DEFAULT 0;
UPDATE token SET ended = expires WHERE id IN (SELECT token FROM pipeline_token);
CREATE INDEX token_ends ON token (expires) WHERE ended = 0;
