-- plain_macros: in place of the same macros of ingest_macros, for texts that hold nothing but printable ASCII and line
-- feeds. The whole file was looked at once, which is cheaper than to look at each name and id. Made per connection.
CREATE OR REPLACE TEMP MACRO is_plain(spelling) AS
    spelling >= '!' AND strlen(spelling) <= 512 AND NOT contains(spelling, chr(10));
