-- HL7 messages that came in, each committed together with what it did, before it is answered.
CREATE TABLE hl7_inbox (
    inbox_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender       text NOT NULL,               -- MSH-3|MSH-4
    control_id   text NOT NULL,               -- MSH-10
    fingerprint  text NOT NULL,               -- of the content without MSH-7: the same for a repetition
    message_type text NOT NULL,
    content      bytea NOT NULL,
    peer         text NOT NULL,
    answer       text NOT NULL,               -- AA | AE | AR
    refusal      text,                        -- operators.domain.hl7.refusals.RefusalReason
    times        integer NOT NULL DEFAULT 1,
    received_at  timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    UNIQUE (sender, control_id, fingerprint)
);
CREATE INDEX hl7_inbox_last ON hl7_inbox (last_at);

-- Merges in force: one row an identifier that is no longer used. Keys are those of operators.domain.messages.Patient.
CREATE TABLE patient_merges (
    former_key  text PRIMARY KEY,
    into_key    text NOT NULL,                -- what it was merged into, as was said
    current_key text NOT NULL,                -- where the chain of merges ends now
    merged_at   timestamptz NOT NULL,
    CHECK (former_key <> into_key AND former_key <> current_key)
);
CREATE INDEX patient_merges_into ON patient_merges (into_key);
CREATE INDEX patient_merges_current ON patient_merges (current_key);
-- A study whose objects name no issuer is withheld under any: these find merges by the id alone.
CREATE INDEX patient_merges_former_id ON patient_merges (split_part(former_key, chr(31), 2));
CREATE INDEX patient_merges_into_id ON patient_merges (split_part(into_key, chr(31), 2));

-- Who merged and unmerged what, and why: never changed, outlives the merge and the message.
CREATE TABLE patient_events (
    event_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deed       text NOT NULL CHECK (deed IN ('merge', 'unmerge')),
    former_key text NOT NULL,
    into_key   text NOT NULL,
    at         timestamptz NOT NULL,
    source     text NOT NULL CHECK (source IN ('hl7', 'command')),
    who        text NOT NULL,                 -- MSH-3|MSH-4, or the account that ran the command
    message    text NOT NULL DEFAULT '',      -- type, trigger event and control ID of the message
    inbox_id   bigint                         -- hl7_inbox, while it is kept
);
CREATE INDEX patient_events_former ON patient_events (former_key);
CREATE INDEX patient_events_into ON patient_events (into_key);

-- A merge finds the rows of a patient by what their objects said.
DO $$
DECLARE bundle record;
BEGIN
    FOR bundle IN SELECT embedding_table FROM bundles WHERE to_regclass(embedding_table) IS NOT NULL LOOP
        EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (original_patient_key)',
                       bundle.embedding_table || '_patient', bundle.embedding_table);
    END LOOP;
END $$;
