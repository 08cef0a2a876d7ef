package golive

import "strconv"

// listToTick adds what no program can see.
func (r *run) listToTick() {
	s := r.config.Settings
	url := s.WebhookURL
	if url == "" {
		url = "URL"
	}
	r.tick("Each endpoint's signing secret is in STRIPE_WEBHOOK_SECRET of the running server: a test event from Stripe's Dashboard, to each endpoint, is answered 200. Before that, server trigger ping --url %s shows whether the way to the server works.", url)
	r.tick("Stripe Identity is activated for this account in the mode of the key.")
	r.tick("If connected accounts verify people: there is an endpoint for connected accounts too. Stripe's API does not show it.")
	r.tick("Stripe permits the reads: API_READS_PER_DAY=%d for each replica, and those for events. An account can have as few as 10,000 reads a month.", s.APIReadsPerDay)
	r.tick("One person was verified in test mode from start to end: a failure, a retry, a success.")
	r.tick("Redis is backed up. If it fails over: REDIS_WAIT_REPLICAS=%d is what you want, since a failover can lose the events of the last moments.", s.RedisWaitReplicas)
	r.tick("The alerts and the dashboard are loaded, and somebody is called at night.")
	r.tick("ADMIN_ADDR and Redis cannot be reached from the internet; the webhook listener can.")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
