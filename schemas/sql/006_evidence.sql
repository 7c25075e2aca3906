-- Where a batch taken lies in the log of its stream's topic and partition, so
-- that the very message can be shown to whoever asks for evidence.  Batches of
-- before have none.
ALTER TABLE gx_batch ADD COLUMN at_offset bigint;
COMMENT ON COLUMN gx_batch.at_offset IS 'of the message in the log; NULL: taken by an older program';
