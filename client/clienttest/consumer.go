package clienttest

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

const (
	// maxConsumers is the contract's number of consumers.
	maxConsumers = 64
	// lease is how long a consumer stays busy after its stream was lost with its server.
	lease = 15 * time.Second
	// renewedLease is what is left at least of the lease of an open stream, which renews it each 5 s.
	renewedLease = 10 * time.Second
)

// consumer is one named consumer.
type consumer struct {
	name         string
	subject      string    // of its tokens
	acknowledged int       // feed entries
	at           time.Time // when acknowledged rose last
	holder       *follower // the open stream
	leased       time.Time // busy until then, see KeepLeases
	held         bool      // by HoldConsumer
	expired      bool
	deleted      bool
}

var consumerName = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)

func checkConsumer(name string) error {
	if !consumerName.MatchString(name) {
		return invalid("consumer", "is not a consumer's name")
	}
	return nil
}

// checkAllSessions returns an error for a filter or a consumer that cannot be.
func checkAllSessions(all *verificationv1.AllSessions) error {
	for _, status := range all.GetStatuses() {
		if _, known := verificationv1.Status_name[int32(status)]; !known || status == 0 {
			return invalid("all_sessions.statuses", status.String()+" cannot be selected")
		}
	}
	switch {
	case all.GetConsumer() != "" && !consumerName.MatchString(all.GetConsumer()):
		return invalid("all_sessions.consumer", "is not a consumer's name")
	case all.GetConsumer() == "" && all.GetMustExist():
		return invalid("all_sessions.must_exist", "does not go without a consumer")
	}
	return nil
}

const (
	consumerSubject = "consumer "
	incarnationOf   = " incarnation "
)

// isConsumerToken reports whether a text is a token of any consumer.
func isConsumerToken(text string) bool {
	t, err := decodeToken(text)
	return err == nil && strings.HasPrefix(t.Subject, consumerSubject)
}

// check returns the error of a consumer's token that is not of this one. The subject of the token ends with the incarnation.
func (c *consumer) check(text string) error {
	at, _ := decodeToken(text)
	switch name, _, _ := strings.Cut(c.subject, incarnationOf); {
	case at.Subject == c.subject:
		return nil
	case strings.HasPrefix(at.Subject, name+incarnationOf):
		return Error(verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	}
	return Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID)
}

// take makes f the open stream of its consumer, which it creates if that is allowed.
func (s *state) take(f *follower, resumeToken string) error {
	name := f.filter.GetConsumer()
	if resumeToken != "" && !isConsumerToken(resumeToken) {
		return Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID)
	}
	c := s.consumers[name]
	switch {
	case c == nil && (f.filter.GetMustExist() || resumeToken != ""):
		return Error(verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	case c == nil && !s.makeRoom():
		return Error(verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS)
	case c == nil:
		s.incarnations++
		c = &consumer{name: name, acknowledged: len(s.feed)}
		c.subject = digest(strings.TrimSpace(consumerSubject), name) + incarnationOf + strconv.Itoa(s.incarnations)
		s.consumers[name] = c
	case resumeToken != "" && c.check(resumeToken) != nil:
		return c.check(resumeToken)
	case c.isActive():
		return s.busy(c)
	case c.expired && resumeToken == "":
		return Error(verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED)
	}
	f.consumer = c
	f.at = token{Subject: c.subject, Entries: c.acknowledged}
	f.sent = c.acknowledged
	return nil
}

// busy returns the error of a consumer that is active. In virtual time it has the service's RetryInfo: what is left of the
// lease, which an open stream has renewed.
func (s *state) busy(c *consumer) error {
	wait := retryAfter
	if left := time.Until(c.leased); s.virtual && left > 0 {
		wait = left
	} else if s.virtual {
		wait = renewedLease
	}
	return newError(verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY, "another stream of the consumer is open", nil,
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
}

func (c *consumer) isActive() bool {
	return c.holder != nil || c.held || time.Now().Before(c.leased)
}

// makeRoom reports whether there is room for another consumer. An expired one without a stream gives way.
func (s *state) makeRoom() bool {
	if len(s.consumers) < maxConsumers {
		return true
	}
	for name, c := range s.consumers {
		if c.expired && !c.isActive() {
			delete(s.consumers, name)
			return true
		}
	}
	return false
}

// release gives the consumer of a stream back.
func (s *state) release(f *follower) {
	if c := f.consumer; c != nil && c.holder == f {
		c.holder = nil
		if s.keepLeases {
			c.leased = time.Now().Add(lease)
		}
	}
}

// lost returns the error that ends the stream of a consumer, or nil.
func (f *follower) lost() error {
	switch c := f.consumer; {
	case c == nil:
		return nil
	case c.deleted:
		return consumerDeleted()
	case c.holder != f:
		return Error(verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY)
	}
	return nil
}

// passOver acknowledges what the filter passed over, if everything that was sent is acknowledged.
func (f *follower) passOver() {
	if c := f.consumer; c != nil && c.acknowledged >= f.sent {
		c.rise(f.at.Entries)
	}
}

func (c *consumer) rise(entries int) {
	if entries > c.acknowledged {
		c.acknowledged, c.at = entries, time.Now()
	}
}

func (s *state) acknowledge(request *verificationv1.AcknowledgeChangesRequest) error {
	text := request.GetResumeToken()
	if err := cmp.Or(checkConsumer(request.GetConsumer()), checkToken("resume_token", text)); err != nil {
		return err
	}
	if !isConsumerToken(text) {
		return Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID)
	}
	c := s.consumers[request.GetConsumer()]
	if c == nil {
		return Error(verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	}
	if err := c.check(text); err != nil {
		return err
	}
	at, err := parseToken(text, c.subject)
	switch {
	case err != nil:
		return err
	case at.Epoch != s.epoch:
		return Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
	}
	c.rise(at.Entries)
	c.expired = false
	s.wake()
	return nil
}

func (s *state) listConsumers() []*verificationv1.Consumer {
	var all []*verificationv1.Consumer
	for _, name := range slices.Sorted(maps.Keys(s.consumers)) {
		c := s.consumers[name]
		shown := &verificationv1.Consumer{
			Name: name, Active: c.isActive(), Expired: c.expired,
			PendingChanges: int64(len(s.feed) - c.acknowledged), Lag: durationpb.New(0),
		}
		if !c.at.IsZero() {
			shown.AcknowledgeTime = timestamppb.New(c.at)
		}
		if c.acknowledged < len(s.feed) {
			shown.Lag = durationpb.New(time.Since(s.feed[c.acknowledged].at))
		}
		all = append(all, shown)
	}
	return all
}

func (s *state) deleteConsumer(name string) {
	if c := s.consumers[name]; c != nil {
		c.deleted = true
		delete(s.consumers, name)
		s.wake()
	}
}
