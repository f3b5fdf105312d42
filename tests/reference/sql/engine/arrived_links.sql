-- arrived_links: links of anonymous to known ids before a look that had been ingested by a moment.
-- Grain: one row per link. Reads: logged_links, ingestions. Parameters: $look (its moment), $as_of.
SELECT l.anonymous_id, l.known_id, l.linked_at
FROM logged_links AS l
WHERE l.linked_at < $look
    AND EXISTS (SELECT 1 FROM ingestions AS i WHERE i.batch_id = l.batch_id AND i.ingested_at <= $as_of)
