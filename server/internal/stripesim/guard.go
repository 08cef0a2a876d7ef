package stripesim

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// guarded refuses requests that a page of another site can cause in a developer's browser: to send a form to the simulator, or to act
// as one of the simulator's own pages under a name that points to this machine (DNS rebinding). Programs such as curl send neither
// header, and are served.
func (s *Sim) guarded(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(http.StatusForbidden, "Another site sent this request", "The simulator takes forms from its own pages only.").write(w, r)
	}))
	inner := protection.Handler(next)
	own := ""
	if base, err := url.Parse(s.cfg.BaseURL); err == nil {
		own = base.Hostname()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := hostname(r.Host); host != "localhost" && net.ParseIP(host) == nil && (own == "" || !strings.EqualFold(host, own)) {
			refuse(http.StatusForbidden, "This is not the simulator's address",
				"It answers to an IP address such as 127.0.0.1, to localhost, and to no other name.").write(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// hostname returns a Host header without its port, and an IPv6 address without its brackets.
func hostname(hostport string) string {
	host := (&url.URL{Host: hostport}).Hostname()
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
