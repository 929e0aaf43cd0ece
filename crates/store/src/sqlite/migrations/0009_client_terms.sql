-- What of its request a code is judged by again; and what is waiting of a client, which ends with the client.

ALTER TABLE authorization_codes ADD COLUMN terms TEXT;
CREATE INDEX pushed_requests_by_client ON pushed_requests (client_id);
CREATE INDEX interactions_by_client ON interactions (client_id);
CREATE INDEX approval_requests_by_client ON approval_requests (client_id, state);
