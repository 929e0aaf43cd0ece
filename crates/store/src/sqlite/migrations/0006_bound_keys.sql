-- Opaque access tokens that are bound to a key instead of a certificate (RFC 9449 §6.2): the text of jkt.

ALTER TABLE access_tokens ADD COLUMN jkt TEXT;
