package stripesim

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	sessionsPath = "/v1/identity/verification_sessions"
	eventsPath   = "/v1/events"
	// endpointsPath is the path of webhook endpoints.
	endpointsPath = "/v1/webhook_endpoints"
)

var (
	accountPattern = regexp.MustCompile(`^acct_[A-Za-z0-9]{1,64}$`)
	versionPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// call is an authenticated API request.
type call struct {
	realm  realm
	cause  cause
	id     string // {id} of the path
	params *node
}

// operation does a call whose parameters are valid. It runs with s.mu held.
type operation func() (any, *Error)

// preparation checks the parameters of a call. A call that it refuses is not saved under an Idempotency-Key.
type preparation func(s *Sim, c call) (operation, *Error)

// Handler serves the API under /v1/, the hosted page under /verify/ and an index of the sessions at /. It
// refuses forms from pages of other sites, and a Host header with a name other than localhost and that of BaseURL.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+sessionsPath, s.serve(createSession))
	mux.Handle("GET "+sessionsPath, s.serve(listSessions))
	mux.Handle("GET "+sessionsPath+"/{id}", s.serve(retrieveSession))
	mux.Handle("POST "+sessionsPath+"/{id}", s.serve(updateSession))
	mux.Handle("POST "+sessionsPath+"/{id}/cancel", s.serve(cancelSession))
	mux.Handle("POST "+sessionsPath+"/{id}/redact", s.serve(redactSession))
	mux.Handle("GET "+eventsPath, s.serve(listEvents))
	mux.Handle("POST "+endpointsPath, s.serve(createEndpoint))
	mux.Handle("GET "+endpointsPath, s.serve(listEndpoints))
	mux.Handle("GET "+endpointsPath+"/{id}", s.serve(retrieveEndpoint))
	mux.Handle("POST "+endpointsPath+"/{id}", s.serve(updateEndpoint))
	mux.Handle("DELETE "+endpointsPath+"/{id}", s.serve(deleteEndpoint))
	mux.Handle("/v1/", s.serve(nil))
	s.routePage(mux)
	s.routeIndex(mux)
	return s.guarded(mux)
}

// serve wraps a preparation with what all routes share. nil is the unknown route.
func (s *Sim) serve(prepare preparation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		requestID, now := s.newID("req_", 14), s.now()
		fate := s.nextFate(r.URL.Path)
		s.mu.Unlock()
		s.setHeaders(w, r, requestID, now)
		if fate.refuse(w, r) {
			return
		}
		status, body := s.answer(w, r, prepare, requestID, now)
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

func (s *Sim) answer(w http.ResponseWriter, r *http.Request, prepare preparation, requestID string, now time.Time) (int, []byte) {
	in, err := s.authenticate(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="Stripe"`)
		return errorBody(err)
	}
	if in.account, err = accountOf(r); err != nil {
		return errorBody(err)
	}
	if in.account != "" {
		w.Header().Set("Stripe-Account", in.account)
	}
	if prepare == nil {
		return errorBody(errNoRoute(r.Method, r.URL.Path))
	}
	encoded, err := encodedParams(w, r)
	if err != nil {
		return errorBody(err)
	}
	params, err := parseParams(encoded)
	if err != nil {
		return errorBody(err)
	}
	c := call{realm: in, cause: cause{requestID: requestID}, id: r.PathValue("id"), params: params}
	key := r.Header.Get("Idempotency-Key")
	if r.Method != http.MethodPost || key == "" {
		status, body, _ := s.carryOut(r, prepare, c)
		return status, body
	}
	c.cause.idempotencyKey = key
	return s.answerOnce(w, r, prepare, c, encoded, now)
}

// answerOnce does a POST with an Idempotency-Key, or repeats the answer to the first one.
func (s *Sim) answerOnce(w http.ResponseWriter, r *http.Request, prepare preparation, c call, encoded string, now time.Time) (int, []byte) {
	key := c.cause.idempotencyKey
	if len(key) > maxIdempotencyKey {
		return errorBody(errBad("", "", "An idempotency key can have up to 255 characters."))
	}
	// Sort by keys: clients encode maps in any order. The form has been parsed once without an error.
	form, _ := url.ParseQuery(encoded)
	fingerprint := sha256.Sum256([]byte(r.URL.Path + "\n" + form.Encode()))
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

// authenticate returns the mode of the key.
func (s *Sim) authenticate(r *http.Request) (realm, *Error) {
	key, _, basic := r.BasicAuth()
	if !basic {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			key = strings.TrimSpace(token)
		}
	}
	if key == "" {
		return realm{}, errNoKey()
	}
	for _, known := range s.cfg.APIKeys {
		if subtle.ConstantTimeCompare([]byte(known), []byte(key)) == 1 {
			return realm{live: known[3] == 'l'}, nil
		}
	}
	return realm{}, errWrongKey()
}

func accountOf(r *http.Request) (string, *Error) {
	account := r.Header.Get("Stripe-Account")
	if account != "" && !accountPattern.MatchString(account) {
		return "", errWrongAccount()
	}
	return account, nil
}

// encodedParams returns the form of a POST or the query of a GET.
func encodedParams(w http.ResponseWriter, r *http.Request) (string, *Error) {
	if r.Method != http.MethodPost {
		return r.URL.RawQuery, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", errTooLarge()
	}
	if kind := r.Header.Get("Content-Type"); len(body) > 0 && !strings.HasPrefix(kind, "application/x-www-form-urlencoded") {
		return "", errBad("", "", "Invalid request: the body must be application/x-www-form-urlencoded.")
	}
	return string(body), nil
}
