-- The node's whole state besides the spool.
CREATE EXTENSION IF NOT EXISTS vector;

-- One row a study: identity and demographics as its objects say them.
CREATE TABLE studies (
    study_uid            text PRIMARY KEY,
    patient_id           text NOT NULL,
    patient_issuer       text NOT NULL DEFAULT '',
    patient_name         text NOT NULL DEFAULT '',
    patient_birth_date   text NOT NULL DEFAULT '',
    patient_sex          text NOT NULL DEFAULT '',
    accession_number     text NOT NULL DEFAULT '',
    study_id             text NOT NULL DEFAULT '',
    study_date           text NOT NULL DEFAULT '',
    study_time           text NOT NULL DEFAULT '',
    study_description    text NOT NULL DEFAULT '',
    referring_physician  text NOT NULL DEFAULT '',
    requested_procedure  text NOT NULL DEFAULT '',
    first_received_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX studies_patient ON studies (patient_id, patient_issuer);
CREATE INDEX studies_accession ON studies (accession_number) WHERE accession_number <> '';

-- One row a revision: a closed set of images, its work and its outcome. States are the contract's.
CREATE TABLE revisions (
    study_uid        text NOT NULL REFERENCES studies ON DELETE CASCADE,
    revision         integer NOT NULL CHECK (revision >= 1),
    state            text NOT NULL CHECK (state IN
                       ('receiving', 'assembling', 'queued', 'working', 'parked', 'delivering', 'done', 'withdrawn')),
    opened_at        timestamptz NOT NULL DEFAULT now(),
    last_instance_at timestamptz NOT NULL DEFAULT now(),
    closed_at        timestamptz,
    closed_by        text,                     -- quiet | age | forced
    started_at       timestamptz,
    finished_at      timestamptz,
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz,
    stage            text,                     -- where it waits or was parked
    reason_code      text,
    reason           text,
    stage_seconds    jsonb,
    PRIMARY KEY (study_uid, revision)
);
CREATE INDEX revisions_open ON revisions (last_instance_at) WHERE state IN ('receiving', 'assembling');
CREATE INDEX revisions_state ON revisions (state);

-- One row an object, committed before its C-STORE is answered. revision 0: opens no revision (no pixels, or our own).
CREATE TABLE instances (
    instance_uid        text PRIMARY KEY,
    study_uid           text NOT NULL,
    series_uid          text NOT NULL,
    revision            integer NOT NULL,
    sop_class_uid       text NOT NULL,
    transfer_syntax_uid text NOT NULL,
    modality            text NOT NULL DEFAULT '',
    patient_key         text NOT NULL DEFAULT '',
    header              jsonb NOT NULL,        -- operators.domain.messages.InstanceHeader
    path                text NOT NULL,         -- relative to the spool
    size_bytes          bigint NOT NULL,
    sha256              text NOT NULL,         -- of the data set as it was sent
    calling_ae          text NOT NULL DEFAULT '',
    received_at         timestamptz NOT NULL DEFAULT now(),
    purged_at           timestamptz            -- the file was removed by retention
);
CREATE INDEX instances_study ON instances (study_uid, revision);
CREATE INDEX instances_age ON instances (received_at) WHERE purged_at IS NULL;

-- Associations that were refused, by name, so that an unknown AE does not look like a time-out.
CREATE TABLE refusals (
    calling_ae text NOT NULL,
    called_ae  text NOT NULL,
    reason     text NOT NULL,
    times      bigint NOT NULL DEFAULT 1,
    last_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (calling_ae, called_ae, reason)
);

-- Counters that outlive a process: objects refused by status, duplicates, own objects sent back.
CREATE TABLE counters (
    name  text NOT NULL,
    label text NOT NULL DEFAULT '',
    value bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (name, label)
);

-- The search for priors of a revision, frozen before anything is encoded.
CREATE TABLE prior_searches (
    study_uid   text NOT NULL,
    revision    integer NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('found', 'none-exists', 'none-relevant', 'could-not-ask')),
    sentence    text NOT NULL,
    searched_at timestamptz NOT NULL,
    decisions   jsonb NOT NULL,                -- [operators.domain.messages.PriorDecision]
    images      jsonb NOT NULL DEFAULT '[]',   -- [operators.priors.candidates.WantedImage] of the chosen priors
    PRIMARY KEY (study_uid, revision),
    FOREIGN KEY (study_uid, revision) REFERENCES revisions ON DELETE CASCADE
);

-- The outcome of a revision; commits together with its documents and its outbox rows.
CREATE TABLE results (
    study_uid       text NOT NULL,
    revision        integer NOT NULL,
    identity_digest text NOT NULL,
    bundle_id       text NOT NULL,
    bundle_sha256   text NOT NULL,
    comparison      jsonb NOT NULL,
    similar_cases   jsonb NOT NULL,
    created_at      timestamptz NOT NULL,
    preview_pdf     bytea NOT NULL,
    PRIMARY KEY (study_uid, revision),
    FOREIGN KEY (study_uid, revision) REFERENCES revisions ON DELETE CASCADE
);

-- Bytes rendered once and never again.
CREATE TABLE documents (
    identity      text PRIMARY KEY,            -- SOP Instance UID or MSH-10
    study_uid     text NOT NULL,
    revision      integer NOT NULL,
    kind          text NOT NULL,
    sop_class_uid text NOT NULL DEFAULT '',
    content       bytea NOT NULL,
    sha256        text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (study_uid, revision) REFERENCES revisions ON DELETE CASCADE
);
CREATE INDEX documents_study ON documents (study_uid, revision);

CREATE TABLE outbox (
    outbox_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_uid       text NOT NULL,
    revision        integer NOT NULL,
    destination     text NOT NULL,
    kind            text NOT NULL,
    identity        text NOT NULL REFERENCES documents ON DELETE CASCADE,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'parked')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    leased_until    timestamptz,
    reason_code     text,
    reason          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    UNIQUE (study_uid, revision, destination, kind),
    FOREIGN KEY (study_uid, revision) REFERENCES revisions ON DELETE CASCADE
);
CREATE INDEX outbox_waiting ON outbox (next_attempt_at) WHERE state = 'waiting';

-- Models whose embeddings the index holds; each has its own partitioned table, made when the bundle is first used.
CREATE TABLE bundles (
    bundle_id       text PRIMARY KEY,
    sha256          text NOT NULL,
    name            text NOT NULL,
    version         text NOT NULL,
    embedding_table text NOT NULL UNIQUE,
    embedding_width integer NOT NULL,
    first_used_at   timestamptz NOT NULL DEFAULT now()
);

-- Each role's process says here that it lives.
CREATE TABLE role_beats (
    role       text NOT NULL,
    host       text NOT NULL,
    pid        integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, host, pid)
);
