-- How the release log went from one key to another. The proof's checkpoint is
-- signed by both keys, so whoever trusts the old one can check it for ever.

CREATE TABLE rotation (
    idx     {key},              -- of its leaf in the release log
    old_key {text} NOT NULL,
    new_key {text} NOT NULL UNIQUE,
    until   BIGINT NOT NULL,
    proof   {bytes}             -- null until it was made, after the commit of the leaf
);
