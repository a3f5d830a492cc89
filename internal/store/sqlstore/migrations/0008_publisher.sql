-- Pipelines that publish by identity tokens, and people who sign in through an
-- identity provider.
--
-- As in 0001. A publisher is never deleted: releases name it.

CREATE TABLE publisher (
    id          {text} PRIMARY KEY,
    project     {text} NOT NULL, -- its name, which never changes
    name        {text} NOT NULL, -- for people
    claims_json {text} NOT NULL,
    maker       {text} NOT NULL REFERENCES account (id),
    created     BIGINT NOT NULL,
    expires     BIGINT NOT NULL, -- 0: never
    last_used   BIGINT NOT NULL,
    removed     BIGINT NOT NULL  -- 0: it stands
);
CREATE INDEX publisher_project ON publisher (project);
CREATE INDEX publisher_maker ON publisher (maker);

-- Identity tokens that were taken once, until they end by themselves. Two
-- replicas cannot both insert one.
CREATE TABLE identity_use (
    id   {bytes} PRIMARY KEY,
    ends BIGINT NOT NULL
);
CREATE INDEX identity_use_ends ON identity_use (ends);

-- Whom the short tokens of pipelines stand for. They and their tokens are
-- removed some time after they ended.
CREATE TABLE pipeline_token (
    token     {text} PRIMARY KEY REFERENCES token (id),
    publisher {text} NOT NULL REFERENCES publisher (id),
    issuer    {text} NOT NULL,
    subject   {text} NOT NULL,
    source    {text} NOT NULL, -- URL of the repository, with the next: '' when not stated
    revision  {text} NOT NULL,
    ends      BIGINT NOT NULL
);
CREATE INDEX pipeline_token_publisher ON pipeline_token (publisher);
CREATE INDEX pipeline_token_ends ON pipeline_token (ends);

-- Who a person of an identity provider is here. The provider's name for the
-- person is personal, and stands here alone.
CREATE TABLE account_link (
    issuer  {text} NOT NULL,
    subject {text} NOT NULL,
    account {text} NOT NULL REFERENCES account (id),
    created BIGINT NOT NULL,
    used    BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX account_link_account ON account_link (account);

-- The groups that a person was in when it last signed in. Grants to a group
-- have the subject group:NAME.
CREATE TABLE account_group (
    account {text} NOT NULL REFERENCES account (id),
    name    {text} NOT NULL,
    ends    BIGINT NOT NULL, -- read again by then, or no longer believed
    PRIMARY KEY (account, name)
);
