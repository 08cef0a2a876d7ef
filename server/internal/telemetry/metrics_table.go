package telemetry

import "slices"

// Metric describes one metric.
type Metric struct {
	Name   string
	Kind   string   // counter, gauge or histogram
	Labels []string // small, fixed sets of values each
	Help   string
}

// MetricTable describes every metric of this service, and those that gRPC specifies. Documentation is tested against
// it. The metrics of the Go runtime and of the process (go_, process_) come beside them.
func MetricTable() []Metric { return slices.Concat(ownMetrics, grpcMetrics) }

var ownMetrics = []Metric{
	{"verification_build_info", "gauge", []string{"version", "revision", "go"},
		"Always 1; what is running: the module's version, the commit it was built from and the version of Go."},
	{"verification_ready", "gauge", nil,
		"Whether this replica is ready: 1, or 0 while Redis cannot be used and once the process is stopping."},
	{"verification_redis_misconfigured", "gauge", []string{"reason"},
		"1 while Redis answers and somebody must correct something, else 0, by reason: password, permission, command, eviction, mode, data, version, topology. The log names the correction."},
	{"verification_webhooks_total", "counter", []string{"status", "reason", "type"},
		"Webhook requests, by HTTP status, by what was decided, and by event type for events that were kept."},
	{"verification_webhook_duration_seconds", "histogram", nil,
		"How long webhook requests took, from their headers to the answer."},
	{"verification_event_age_seconds", "histogram", nil,
		"Age of events when the webhook brought them for the first time, from Stripe's created, which is in whole seconds."},
	{"verification_webhook_signatures_total", "counter", []string{"secret"},
		"Webhook requests that are rightly signed, by the place in STRIPE_WEBHOOK_SECRET of the first secret that fits: 1 is the first one listed."},
	{"verification_file_reloads_total", "counter", []string{"file", "result"},
		"Changes of files that settings name, by setting and by what became of them: used, refused (what the file held before stays in use)."},
	{"verification_calls_refused_total", "counter", []string{"reason"},
		"Calls and streams that callers may not make, by the contract's ErrorReason."},
	{"verification_shed_total", "counter", []string{"what", "limit"},
		"What was turned away because a limit was reached: a method's call, webhook or connection, by the setting that holds the limit."},
	{"verification_commit_duration_seconds", "histogram", []string{"result"},
		"How long updates of a session took in Redis, all tries together, by result: committed, unchanged, conflict, unavailable, canceled, failed."},
	{"verification_commit_tries", "histogram", nil,
		"How many tries an update of a session needed against other writers."},
	{"verification_commit_conflicts_total", "counter", nil,
		"Tries of an update that another writer overtook."},
	{"verification_doubts_total", "counter", []string{"outcome"},
		"Events whose order was in doubt, by outcome: settled (Stripe was read), pending (decided by rule, to be read later)."},
	{"verification_read_throughs_total", "counter", []string{"outcome"},
		"Reads of sessions at Stripe that were asked for and not known here, by outcome: found, unknown, failed."},
	{"verification_stripe_calls_total", "counter", []string{"operation", "outcome"},
		"Calls of Stripe's API, by operation and outcome. With budget and busy Stripe was not asked."},
	{"verification_stripe_reads_left", "gauge", nil,
		"Reads that API_READS_PER_DAY leaves this replica until midnight UTC. Absent without an API key."},
	{"verification_catch_ups_total", "counter", []string{"result"},
		"Runs of the catch-up, by how they ended: done, incomplete (went through all, but some accounts are behind or sessions unanswered), stopped early (the next run resumes there), failed."},
	{"verification_catch_up_last_done_timestamp_seconds", "gauge", nil,
		"When this replica last finished a catch-up, complete or incomplete, in Unix seconds; 0: never."},
	{"verification_catch_up_behind_accounts", "gauge", nil,
		"Accounts whose events are not caught up, by the last run that went through them, whichever replica's it was. The platform's own counts as one."},
	{"verification_catch_up_behind_since_timestamp_seconds", "gauge", []string{"account"},
		"Since when an account's events are not caught up, in Unix seconds. The 20 accounts that are behind for longest; the platform's own is platform."},
	{"verification_missed_events_total", "counter", nil,
		"Events that the webhook had not brought and the catch-up found."},
	{"verification_reread_sessions_total", "counter", []string{"outcome"},
		"Sessions in doubt or stuck that the catch-up read again at Stripe, by outcome: changed, unchanged, unknown."},
	{"verification_memory_hits_total", "counter", nil,
		"Statuses that this replica answered, or told a watch, from its memory."},
	{"verification_memory_misses_total", "counter", nil,
		"Those that memory did not have, or was not to be trusted with, so that Redis was asked. Reads that memory may never answer count in neither."},
	{"verification_feed_lag_seconds", "gauge", nil,
		"How far this replica is behind the change feed: how long ago it had last read every partition of it to its end. Under a second or two while all is well."},
	{"verification_feed_rewinds_total", "counter", nil,
		"Times that Redis was found to have lost writes: the change feed was rewound, or a commit of this process was not in it."},
	{"verification_watch_streams", "gauge", []string{"kind"},
		"Open watches, by kind: session, reference, all."},
	{"verification_watches_opened_total", "counter", []string{"kind", "resumed"},
		"Watches opened, by kind and by whether they brought a resume token."},
	{"verification_watches_ended_total", "counter", []string{"kind", "code"},
		"Watches ended, by kind and gRPC code. OutOfRange: what followed the resume token is lost."},
	{"verification_watch_sent_total", "counter", []string{"kind"},
		"Statuses and changes sent on watches, heartbeats not counted, by kind."},
	{"verification_retries_granted_total", "counter", nil,
		"Calls of RetryVerification that were answered with a link; asking again uses no further retry, and counts here."},
	{"verification_retries_denied_total", "counter", []string{"reason"},
		"Calls of RetryVerification that were refused, by the contract's RetryDenial."},
}

// grpcMetrics are those of gRPC proposal A66; help is the text of grpc's own module.
var grpcMetrics = []Metric{
	{"grpc_server_call_started_total", "counter", []string{"grpc_method"}, "Number of server calls started."},
	{"grpc_server_call_duration_seconds", "histogram", []string{"grpc_method", "grpc_status"},
		"End-to-end time taken to complete a call from server transport's perspective."},
	{"grpc_server_call_rcvd_total_compressed_message_size_bytes", "histogram", []string{"grpc_method", "grpc_status"},
		"Compressed message bytes received per server call."},
	{"grpc_server_call_sent_total_compressed_message_size_bytes", "histogram", []string{"grpc_method", "grpc_status"},
		"Compressed message bytes sent per server call."},
}

// describe is the metric of a name; a name that the table lacks is a mistake of this package.
func describe(name string) Metric {
	for _, metric := range MetricTable() {
		if metric.Name == name {
			return metric
		}
	}
	panic("the table of metrics lacks " + name)
}
