-- Re-indexing: somebody asked that the images of the spool be read by another bundle. One row a bundle.
CREATE TABLE reindexings (
    bundle_id    text PRIMARY KEY,
    requested_at timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);

-- What became of each study in it; one that has a row is not read again. reason_code: why it could not be read.
CREATE TABLE reindexed_studies (
    bundle_id   text NOT NULL REFERENCES reindexings ON DELETE CASCADE,
    study_uid   text NOT NULL REFERENCES studies ON DELETE CASCADE,
    revision    integer NOT NULL,
    reason_code text,
    ended_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bundle_id, study_uid)
);
