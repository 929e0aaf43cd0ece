-- Grants that nobody was asked for (prompt=none): each rests on one that the user gave, and ends with it.

ALTER TABLE grants ADD COLUMN based_on TEXT;
CREATE INDEX grants_by_base ON grants (based_on) WHERE based_on IS NOT NULL;
