package stripesim

import (
	"crypto/sha256"
	"net/http"
	"regexp"
	"time"
)

const (
	sessionsPath = "/v1/identity/verification_sessions"
	eventsPath   = "/v1/events"
	// endpointsPath is the path of webhook endpoints.
	endpointsPath = "/v1/webhook_endpoints"
	// ephemeralKeysPath is the path of the keys of mobile apps.
	ephemeralKeysPath = "/v1/ephemeral_keys"
)

var (
	accountPattern = regexp.MustCompile(`^acct_[A-Za-z0-9]{1,64}$`)
	versionPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// call is an authenticated API request.
type call struct {
	realm   realm
	key     Key
	own     bool // the key is of the realm's own account
	cause   cause
	version string // Stripe-Version; empty if the request names none
	id      string // {id} of the path
	params  *node
}

// operation does a call whose parameters are valid. It runs with s.mu held.
type operation func() (any, *Error)

// preparation checks the parameters of a call. A call that it refuses is not saved under an Idempotency-Key.
type preparation func(s *Sim, c call) (operation, *Error)

// route is what a path and a method lead to.
type route struct {
	permissions []string // that a restricted key needs
	prepare     preparation
	v2          bool // JSON instead of forms, and a Stripe-Version on each request
}

// To read events, a key needs the permission to read the objects in them.
var (
	readSessions      = []string{PermissionReadSessions}
	writeSessions     = []string{PermissionWriteSessions}
	readEvents        = []string{PermissionReadEvents, PermissionReadSessions}
	readEndpoints     = []string{PermissionReadEndpoints}
	writeEndpoints    = []string{PermissionWriteEndpoints}
	writeEphemeralKey = []string{PermissionWriteEphemeralKey}
)

// Handler serves the API under /v1/ and /v2/, the hosted page under /verify/ and an index of the sessions at /. It
// refuses forms from pages of other sites, and a Host header with a name other than localhost and that of BaseURL.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, r := range map[string]route{
		"POST " + sessionsPath:                       {writeSessions, createSession, false},
		"GET " + sessionsPath:                        {readSessions, listSessions, false},
		"GET " + sessionsPath + "/{id}":              {readSessions, retrieveSession, false},
		"POST " + sessionsPath + "/{id}":             {writeSessions, updateSession, false},
		"POST " + sessionsPath + "/{id}/cancel":      {writeSessions, cancelSession, false},
		"POST " + sessionsPath + "/{id}/redact":      {writeSessions, redactSession, false},
		"GET " + eventsPath:                          {readEvents, listEvents, false},
		"GET " + eventsPath + "/{id}":                {readEvents, retrieveEvent, false},
		"POST " + endpointsPath:                      {writeEndpoints, createEndpoint, false},
		"GET " + endpointsPath:                       {readEndpoints, listEndpoints, false},
		"GET " + endpointsPath + "/{id}":             {readEndpoints, retrieveEndpoint, false},
		"POST " + endpointsPath + "/{id}":            {writeEndpoints, updateEndpoint, false},
		"DELETE " + endpointsPath + "/{id}":          {writeEndpoints, deleteEndpoint, false},
		"POST " + ephemeralKeysPath:                  {writeEphemeralKey, createEphemeralKey, false},
		"GET " + thinEventsPath + "/{id}":            {readEvents, retrieveThinEvent, true},
		"POST " + destinationsPath:                   {writeEndpoints, createDestination, true},
		"GET " + destinationsPath:                    {readEndpoints, listDestinations, true},
		"GET " + destinationsPath + "/{id}":          {readEndpoints, retrieveDestination, true},
		"POST " + destinationsPath + "/{id}":         {writeEndpoints, updateDestination, true},
		"DELETE " + destinationsPath + "/{id}":       {writeEndpoints, deleteDestination, true},
		"POST " + destinationsPath + "/{id}/ping":    {writeEndpoints, pingDestination, true},
		"POST " + destinationsPath + "/{id}/enable":  {writeEndpoints, enableDestination, true},
		"POST " + destinationsPath + "/{id}/disable": {writeEndpoints, disableDestination, true},
		"/v1/": {},
		"/v2/": {v2: true},
	} {
		mux.Handle(pattern, s.serve(r))
	}
	s.routePage(mux)
	s.routeIndex(mux)
	return s.guarded(mux)
}

// serve wraps a route with what all routes share. A route without a preparation is unknown.
func (s *Sim) serve(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		requestID, now := s.newID("req_", 14), s.now()
		fate := s.nextFate(r.URL.Path)
		s.mu.Unlock()
		s.setHeaders(w, r, requestID, now)
		if fate.refuse(w, r) {
			return
		}
		status, body := s.answer(w, r, to, requestID, now)
		if fate.spoil(r) {
			// Date is the time at which the answer is sent. The state can have been read long before.
			s.mu.Lock()
			now = s.now()
			s.mu.Unlock()
			w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
}

func (s *Sim) setHeaders(w http.ResponseWriter, r *http.Request, requestID string, now time.Time) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	h.Set("Request-Id", requestID)
	version := s.cfg.APIVersion
	if v := r.Header.Get("Stripe-Version"); versionPattern.MatchString(v) {
		version = v
	}
	if version != "" {
		h.Set("Stripe-Version", version)
	}
}

func (s *Sim) answer(w http.ResponseWriter, r *http.Request, to route, requestID string, now time.Time) (int, []byte) {
	key, err := s.authenticate(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="Stripe"`)
		return errorBody(err)
	}
	in, err := s.scope(r, key)
	if err != nil {
		return errorBody(err)
	}
	if r.Header.Get("Stripe-Account") != "" {
		w.Header().Set("Stripe-Account", in.account)
	}
	if to.prepare == nil {
		return errorBody(errNoRoute(r.Method, r.URL.Path))
	}
	if err := permit(key, in, to.permissions); err != nil {
		return errorBody(err)
	}
	version := r.Header.Get("Stripe-Version")
	if to.v2 && version == "" {
		return errorBody(errBad("", "", "The header Stripe-Version is required for requests to /v2."))
	}
	read := formParams
	if to.v2 {
		read = jsonParams
	}
	params, encoded, err := read(w, r)
	if err != nil {
		return errorBody(err)
	}
	c := call{realm: in, key: key, own: in.account == key.Account, cause: cause{requestID: requestID}, version: version, id: r.PathValue("id"), params: params}
	idempotencyKey := r.Header.Get("Idempotency-Key")
	if r.Method != http.MethodPost || idempotencyKey == "" {
		status, body, _ := s.carryOut(r, to.prepare, c)
		return status, body
	}
	c.cause.idempotencyKey = idempotencyKey
	return s.answerOnce(w, r, to.prepare, c, encoded, now)
}

// answerOnce does a POST with an Idempotency-Key, or repeats the answer to the first one.
func (s *Sim) answerOnce(w http.ResponseWriter, r *http.Request, prepare preparation, c call, encoded string, now time.Time) (int, []byte) {
	key := c.cause.idempotencyKey
	if len(key) > maxIdempotencyKey {
		return errorBody(errBad("", "", "An idempotency key can have up to 255 characters."))
	}
	fingerprint := sha256.Sum256([]byte(r.URL.Path + "\n" + encoded))
	saved, replay, err := s.idem.begin(idemKey{c.realm, key}, fingerprint, c.cause.requestID, now)
	if err != nil {
		return errorBody(err)
	}
	w.Header().Set("Idempotency-Key", key)
	if replay {
		w.Header().Set("Idempotent-Replayed", "true")
		w.Header().Set("Original-Request", saved.requestID)
		return saved.status, saved.body
	}
	status, body, executed := s.carryOut(r, prepare, c)
	if executed {
		s.idem.save(saved, status, body)
	} else {
		s.idem.drop(saved)
	}
	return status, body
}

// carryOut does the call. It returns whether the call got as far as the operation.
func (s *Sim) carryOut(r *http.Request, prepare preparation, c call) (status int, body []byte, executed bool) {
	op, err := prepare(s, c)
	if err != nil {
		status, body = errorBody(err)
		return status, body, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.BaseURL == "" {
		s.base = "http://" + r.Host
	}
	result, err := op()
	if err != nil {
		status, body = errorBody(err)
		return status, body, true
	}
	return http.StatusOK, encodeLine(result), true
}

func errorBody(err *Error) (int, []byte) {
	return err.HTTPStatus, encodeLine(map[string]*Error{"error": err})
}
