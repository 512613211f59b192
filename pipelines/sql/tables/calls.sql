-- Purpose: one row per call: when it was asked for, offered, accepted, connected and ended, and how
--   long the client waited and talked.
-- Input: service_records, event types lv.vpvkac.call.*.
-- Output: calls.
-- Key: call_id, requested_at; date is the local day of the first event.
-- Watermark: as service_records declares it. A call is told two hours after its last event.
-- Late data: dropped and counted; what is later than two hours after the rest is a row of its own.
CREATE TABLE calls WITH (
  connector = 'delta',
  path = 'calls',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO calls
SELECT
  call_id,
  centre_id,
  service_id,
  institution_id,
  official_id,
  language,
  CAST(requested_at AS TIMESTAMP(6)) AS requested_at,
  CAST(offered_at AS TIMESTAMP(6)) AS offered_at,
  CAST(accepted_at AS TIMESTAMP(6)) AS accepted_at,
  CAST(connected_at AS TIMESTAMP(6)) AS connected_at,
  CAST(ended_at AS TIMESTAMP(6)) AS ended_at,
  abandoned_at IS NOT NULL AS abandoned,
  CAST(
    EXTRACT(EPOCH FROM COALESCE(connected_at, abandoned_at, ended_at))
    - EXTRACT(EPOCH FROM requested_at) AS BIGINT
  ) AS waiting_seconds,
  CAST(
    EXTRACT(EPOCH FROM ended_at) - EXTRACT(EPOCH FROM connected_at) AS BIGINT
  ) AS talking_seconds,
  rating,
  resolved,
  date
FROM (
  SELECT
    SESSION(INTERVAL '2 hours') AS span,
    call_id,
    MAX(centre_id) AS centre_id,
    MAX(service_id) AS service_id,
    MAX(institution_id) AS institution_id,
    MAX(official_id) AS official_id,
    MAX(language) AS language,
    MIN(CASE WHEN event_type = 'lv.vpvkac.call.requested' THEN event_time END) AS requested_at,
    MIN(CASE WHEN event_type = 'lv.vpvkac.call.offered' THEN event_time END) AS offered_at,
    MIN(CASE WHEN event_type = 'lv.vpvkac.call.accepted' THEN event_time END) AS accepted_at,
    MIN(CASE WHEN event_type = 'lv.vpvkac.call.connected' THEN event_time END) AS connected_at,
    MAX(CASE WHEN event_type = 'lv.vpvkac.call.ended' THEN event_time END) AS ended_at,
    MIN(CASE WHEN event_type = 'lv.vpvkac.call.abandoned' THEN event_time END) AS abandoned_at,
    MAX(rating) AS rating,
    BOOL_OR(resolved) AS resolved,
    MIN(date) AS date
  FROM service_records
  WHERE event_type LIKE 'lv.vpvkac.call.%'
  GROUP BY span, call_id
) AS spans;
