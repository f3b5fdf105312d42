-- read_everything: a number that depends on every value stored, so that every block is read and checked.
-- Grain: one row per table.
SELECT 'batches' AS table_name, bit_xor(hash(entry)) AS digest FROM batches AS entry
UNION ALL
SELECT 'event_names' AS table_name, bit_xor(hash(entry)) AS digest FROM event_names AS entry
UNION ALL
SELECT 'event_rows' AS table_name, bit_xor(hash(entry)) AS digest FROM event_rows AS entry
UNION ALL
SELECT 'exposure_rows' AS table_name, bit_xor(hash(entry)) AS digest FROM exposure_rows AS entry
UNION ALL
SELECT 'identity_rows' AS table_name, bit_xor(hash(entry)) AS digest FROM identity_rows AS entry
UNION ALL
SELECT 'journal' AS table_name, bit_xor(hash(entry)) AS digest FROM journal AS entry
UNION ALL
SELECT 'rejected' AS table_name, bit_xor(hash(entry)) AS digest FROM rejected AS entry
UNION ALL
SELECT 'units' AS table_name, bit_xor(hash(entry)) AS digest FROM units AS entry
