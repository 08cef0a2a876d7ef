package telemetry

import "slices"

// Metric describes one metric.
type Metric struct {
	Name   string
	Kind   string   // counter, gauge or histogram
	Labels []string // each has a small, bounded set of values
	Help   string
}

// MetricTable describes every metric of this service, and those that gRPC specifies. Tests compare the documentation with it.
// It does not list the metrics of the Go runtime and of the process (go_, process_), which are served too.
func MetricTable() []Metric { return slices.Concat(ownMetrics, grpcMetrics) }

var ownMetrics = []Metric{
	{"verification_build_info", "gauge", []string{"version", "revision", "go"},
		"Always 1. The labels are the module's version, the commit from which this binary was built, and the version of Go."},
	{"verification_ready", "gauge", nil,
		"1 if this replica is ready, else 0: Redis cannot be used, or the process is stopping."},
	{"verification_redis_misconfigured", "gauge", []string{"reason"},
		"1 while Redis answers and somebody must correct its configuration or this service's, else 0. By reason: password, permission, command, eviction, mode, data, version, topology. The log says what to correct."},
	{"verification_redis_memory_used_bytes", "gauge", []string{"node"},
		"used_memory of Redis, by master: its address on a Cluster, else master. This and the metrics below are read every 10 s while Redis answers. They are absent if they are older than a minute, or if Redis does not tell them. All replicas show the same Redis: do not add them up."},
	{"verification_redis_memory_max_bytes", "gauge", []string{"node"},
		"maxmemory of Redis, by master. 0: there is no limit. At the limit Redis refuses writes, or deletes sessions if its policy is another than noeviction."},
	{"verification_redis_evicted_keys_total", "counter", []string{"node"},
		"Keys that Redis has deleted for lack of memory since it started, by master. Each one can be a session, or a count of retries."},
	{"verification_redis_maxmemory_policy", "gauge", []string{"node", "policy"},
		"Always 1. The label policy is maxmemory-policy of Redis, by master. It must be noeviction."},
	{"verification_webhooks_total", "counter", []string{"status", "reason", "type"},
		"Webhook requests, by HTTP status, by the reason of the answer, and by event type if the event was accepted."},
	{"verification_endpoint_problem", "gauge", []string{"problem"},
		"1 while the last check of the webhook endpoint at Stripe, by any replica, found a problem, else 0: missing, disabled, wrong_path, missing_types. Absent without an API key."},
	{"verification_webhook_duration_seconds", "histogram", nil,
		"Duration of webhook requests, from their headers to the answer."},
	{"verification_event_age_seconds", "histogram", nil,
		"Age of events when the webhook delivered them for the first time, from Stripe's created, which is in whole seconds."},
	{"verification_webhook_signatures_total", "counter", []string{"secret"},
		"Correctly signed webhook requests, by the position of the matching secret in STRIPE_WEBHOOK_SECRET, from 1."},
	{"verification_file_reloads_total", "counter", []string{"file", "result"},
		"Changes of files that settings name, by setting and result: used, or refused (the previous text stays in use)."},
	{"verification_tls_certificate_not_before_timestamp_seconds", "gauge", nil,
		"Time since which the certificate of the gRPC server in use is valid, in Unix seconds: the begin of its life, whose end is below. Absent without TLS."},
	{"verification_tls_certificate_expiry_timestamp_seconds", "gauge", nil,
		"Time at which the certificate of the gRPC server ends, in Unix seconds: the one in use, so that a renewed file changes it. Absent without TLS."},
	{"verification_calls_refused_total", "counter", []string{"reason"},
		"Calls and streams that the caller has no right to, by the contract's ErrorReason."},
	{"verification_shed_total", "counter", []string{"what", "limit"},
		"Requests that were refused because a limit was reached: calls of a method, webhooks, connections, or a \"call\" whose method is not known, by the setting that is the limit; a fixed limit is \"none: …\"."},
	{"verification_commit_duration_seconds", "histogram", []string{"result"},
		"Duration of updates of a session in Redis, with all their tries, by result: committed, unchanged, conflict, unavailable, canceled, failed."},
	{"verification_commit_tries", "histogram", nil,
		"Tries that an update of a session needed. Every conflict with another writer costs one more."},
	{"verification_commit_conflicts_total", "counter", nil,
		"Tries of an update that failed because another writer had committed in between."},
	{"verification_doubts_total", "counter", []string{"outcome"},
		"Events whose order was ambiguous, by outcome. settled: Stripe was read. pending: decided by rule; the session is unresolved until it is read again."},
	{"verification_read_throughs_total", "counter", []string{"outcome"},
		"Reads at Stripe of sessions that a caller asked for and this service did not have, by outcome: found, unknown, failed."},
	{"verification_stripe_calls_total", "counter", []string{"operation", "outcome"},
		"Calls of Stripe's API, by operation and outcome. account_refused: the connected account gives no access, which says nothing about the key. With the outcomes account_rests, budget and busy, Stripe was not called."},
	{"verification_stripe_reads_left", "gauge", nil,
		"Reads at Stripe that this replica has left of API_READS_PER_DAY until midnight UTC. Absent without an API key."},
	{"verification_stripe_reads_per_day", "gauge", nil,
		"The setting API_READS_PER_DAY. It counts for each replica. Absent without an API key."},
	{"verification_stripe_reads_left_by_purpose", "gauge", []string{"purpose"},
		"The part of verification_stripe_reads_left that a purpose can use. retry: all of it. catch_up: until 80 % of the day's reads are used. lookup: until half of them are, for what callers ask about and this service does not know."},
	{"verification_stripe_budget_refused_reads_total", "counter", []string{"purpose", "limit"},
		"Reads at Stripe that were not made, by purpose and by the setting that is the limit. API_READS_PER_DAY: no read is left for the purpose. CALLER_SHARE_PERCENT: the caller has used up its share."},
	{"verification_stripe_budget_refused_calls_total", "counter", []string{"grpc_method", "limit"},
		"Calls that were answered UNAVAILABLE because no read at Stripe was left for them, by the setting that is the limit. Stripe itself did not fail. The grpc_server_ metrics count them too."},
	{"verification_catch_ups_total", "counter", []string{"result"},
		"Runs of the catch-up, by result: done; incomplete: some accounts are behind, or Stripe gave no answer for some sessions; stopped: ended early, the next run resumes; failed."},
	{"verification_catch_up_interval_seconds", "gauge", nil,
		"The setting RECONCILE_INTERVAL, in seconds: the time between two catch-ups. Absent without an API key."},
	{"verification_catch_up_last_done_timestamp_seconds", "gauge", nil,
		"Time at which this replica last finished a catch-up, complete or incomplete, in Unix seconds. 0 if it never has."},
	{"verification_catch_up_behind_accounts", "gauge", nil,
		"Accounts that are not caught up, as stored by the last run of any replica. The platform itself counts as one account."},
	{"verification_catch_up_behind_since_timestamp_seconds", "gauge", []string{"account"},
		"Time since which an account is not caught up, in Unix seconds, for the 20 accounts that are behind longest. The label of the platform itself is platform."},
	{"verification_missed_events_total", "counter", nil,
		"Events that the catch-up found and no webhook had delivered, without those of before the first start."},
	{"verification_thin_without_snapshot_total", "counter", nil,
		"Thin events that were answered by a read at Stripe, and whose snapshot event the catch-up then did not find. Counts of failures can be too low."},
	{"verification_reread_sessions_total", "counter", []string{"outcome"},
		"Sessions that the catch-up read again at Stripe because they were unresolved or stuck, by outcome: changed, unchanged, unknown."},
	{"verification_absent_sessions_total", "counter", nil,
		"Sessions that left the lists, because Stripe did not know them at three catch-ups in a row, each of which read another session of the account with success."},
	{"verification_memory_hits_total", "counter", nil,
		"Cache hits: reads of a session answered from the cache, for calls and watches."},
	{"verification_memory_misses_total", "counter", nil,
		"Cache misses: reads of a session that the cache did not hold, or that came while the cache was stale. Reads that always go to Redis count as neither hit nor miss."},
	{"verification_feed_lag_seconds", "gauge", nil,
		"Seconds since this replica last read every partition of the change feed to its end. Normal: under 2."},
	{"verification_feed_rewinds_total", "counter", nil,
		"Losses of writes in Redis that this replica found: the change feed was rewound, or a commit of this process was not in it."},
	{"verification_feed_max_age_seconds", "gauge", nil,
		"The setting FEED_MAX_AGE, in seconds: how long the change feed keeps a change. 0: there is no such limit."},
	{"verification_feed_max_changes", "gauge", nil,
		"About how many changes the change feed keeps: FEED_MAX_LEN in each partition, in all partitions together."},
	{"verification_consumer_lag_seconds", "gauge", []string{"consumer"},
		"Age of the oldest change that a named consumer has not acknowledged, as this replica last read it, every 15 s. 0 if there is none. Past verification_feed_max_age_seconds changes are lost to the consumer."},
	{"verification_consumer_pending", "gauge", []string{"consumer"},
		"Changes that a named consumer has not acknowledged, before any filter. Past verification_feed_max_changes changes are lost to the consumer."},
	{"verification_consumer_active", "gauge", []string{"consumer"},
		"1 if a stream of a named consumer is open, at any replica, else 0."},
	{"verification_consumer_expired", "gauge", []string{"consumer"},
		"1 if changes that a named consumer has not acknowledged are no longer kept, else 0."},
	{"verification_watch_streams", "gauge", []string{"kind"},
		"Open watches, by kind: session, reference, all."},
	{"verification_watch_streams_max", "gauge", nil,
		"The setting GRPC_MAX_STREAMS: the limit of open watches of this replica."},
	{"verification_watches_opened_total", "counter", []string{"kind", "resumed"},
		"Watches opened, by kind and by whether the caller sent a resume token."},
	{"verification_watches_ended_total", "counter", []string{"kind", "code"},
		"Watches ended, by kind and gRPC code. OutOfRange: the changes after the resume token are lost. NotFound of kind all: there is no consumer of that name."},
	{"verification_watch_sent_total", "counter", []string{"kind"},
		"Statuses and changes sent on watches, by kind. Heartbeats are not counted."},
	{"verification_retries_granted_total", "counter", nil,
		"Calls of RetryVerification that were answered with a link. A repeated call uses no further retry, and is counted here."},
	{"verification_retries_denied_total", "counter", []string{"reason"},
		"Calls of RetryVerification that were refused, by the contract's RetryDenial."},
	{"verification_comparisons_total", "counter", []string{"outcome"},
		"Calls of CompareVerifiedOutputs, by outcome. compared; limited: COMPARISON_LIMIT; not_comparable: the session is not verified or is redacted; unknown: no such session; invalid: the request is wrong; failed."},
	{"verification_operator_calls_total", "counter", []string{"operation", "outcome"},
		"Calls of OperatorService, by operation (allow_retry, resolve, take_back) and outcome. changed, or unchanged: the session was so already; denied: a retry is refused for a reason that no operator can lift; conflict: the outcome was not the one that the operator saw; unknown: the session is not known here; failed."},
}

// grpcMetrics are the metrics of gRPC proposal A66, with the help texts of grpc's own module.
var grpcMetrics = []Metric{
	{"grpc_server_call_started_total", "counter", []string{"grpc_method"}, "Number of server calls started."},
	{"grpc_server_call_duration_seconds", "histogram", []string{"grpc_method", "grpc_status"},
		"End-to-end time taken to complete a call from server transport's perspective."},
	{"grpc_server_call_rcvd_total_compressed_message_size_bytes", "histogram", []string{"grpc_method", "grpc_status"},
		"Compressed message bytes received per server call."},
	{"grpc_server_call_sent_total_compressed_message_size_bytes", "histogram", []string{"grpc_method", "grpc_status"},
		"Compressed message bytes sent per server call."},
}

// describe returns the metric with a name. It panics if the table lacks it, which is a mistake in this package.
func describe(name string) Metric {
	for _, metric := range MetricTable() {
		if metric.Name == name {
			return metric
		}
	}
	panic("the table of metrics lacks " + name)
}
