package fair

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// visitor is a browser, more or less.
type visitor struct {
	*attacker
	http   *http.Client
	cookie string
}

func (a *attacker) visitor(address, cookie string) *visitor {
	return &visitor{a, &http.Client{Transport: &http.Transport{DialContext: dialer(address).DialContext, MaxIdleConnsPerHost: 64}}, cookie}
}

// send sends a request and counts the answer's status. The caller closes the body.
func (v *visitor) send(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, v.BFF+path, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		request.Header = header
	}
	if v.cookie != "" {
		request.Header.Set("Cookie", v.cookie)
	}
	response, err := v.http.Do(request)
	switch {
	case err == nil:
		v.count(fmt.Sprint(method, " ", path, " ", response.StatusCode))
	case ctx.Err() == nil:
		v.count(fmt.Sprint(method, " ", path, " failed"))
	}
	return response, err
}

// touch sends a request and reads the answer.
func (v *visitor) touch(method, path string) {
	ctx, cancel := context.WithTimeout(v.ctx, time.Minute)
	defer cancel()
	response, err := v.send(ctx, method, path, nil)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	_ = response.Body.Close()
	for _, cookie := range response.Cookies() {
		v.cookie = cookie.Name + "=" + cookie.Value
	}
}

// stream is a request for /events as an EventSource makes it. It returns at the end of the answer, and each
// line of it goes to seen first; false leaves it.
func (v *visitor) stream(within time.Duration, lastEventID string, seen func(line string) bool) (stays bool) {
	ctx, cancel := context.WithTimeout(v.ctx, within)
	defer cancel()
	header := http.Header{"Accept": {"text/event-stream"}}
	if lastEventID != "" {
		header.Set("Last-Event-ID", lastEventID)
	}
	response, err := v.send(ctx, http.MethodGet, "/events", header)
	if err != nil {
		return true
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); response.StatusCode == http.StatusOK && lines.Scan() && seen(lines.Text()); {
		continue
	}
	return response.StatusCode == http.StatusOK
}

// linkLoop is a verified person who presses the button again and again.
func linkLoop(a *attacker, begun func()) {
	v := a.visitor(attackersAddress, a.Cookie)
	a.first = begun
	a.loop(16, paced(16), func(int, *rand.Rand) { v.touch(http.MethodPost, "/link") })
}

// gotALink is the outcome of a press that got a link.
const gotALink = "POST /link 200"

// neededLinks is 20 persons at one address who press the button again and again. They need a link, so each one costs a read.
func neededLinks(a *attacker, begun func()) {
	visitors := make([]*visitor, len(a.Begun))
	for i, cookie := range a.Begun {
		visitors[i] = a.visitor(neededLinksAddress, cookie)
	}
	a.first = begun
	a.loop(len(visitors), paced(len(visitors)), func(worker int, _ *rand.Rand) { visitors[worker].touch(http.MethodPost, "/link") })
}

// signUps opens the page and presses the button as one new person after the other.
func signUps(a *attacker, begun func()) {
	shared := a.visitor(signUpsAddress, "").http
	a.first = begun
	a.loop(16, paced(16), func(int, *rand.Rand) {
		v := &visitor{a, shared, ""}
		v.touch(http.MethodGet, "/")
		v.touch(http.MethodPost, "/link")
	})
}

// untilEvent leaves a stream at its first event.
func untilEvent(line string) bool { return !strings.HasPrefix(line, "event") }

// madeUp is a cookie of the site's form that the site did not give out.
func (a *attacker) madeUp(rng *rand.Rand) string {
	name, _, _ := strings.Cut(a.Cookie, "=")
	value := make([]byte, 26)
	for i := range value {
		value[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[rng.IntN(32)]
	}
	return name + "=" + string(value)
}

// madeUpCookies asks for the status of one made-up person after the other.
func madeUpCookies(a *attacker, begun func()) {
	shared := a.visitor(attackersAddress, "").http
	a.first = begun
	a.loop(50, paced(50), func(_ int, rng *rand.Rand) {
		(&visitor{a, shared, a.madeUp(rng)}).stream(time.Second, "", untilEvent)
	})
}

// visitors take a cookie that the site gives out, and ask for the status of whom it stands for.
func visitors(a *attacker, begun func()) {
	shared := a.visitor(attackersAddress, "").http
	a.first = begun
	a.loop(50, paced(50), func(int, *rand.Rand) {
		v := &visitor{a, shared, ""}
		v.touch(http.MethodGet, "/")
		v.stream(time.Second, "", untilEvent)
	})
}

// personStreams holds 1,000 streams of one person, 500 of visitors and 500 of made-up people.
func personStreams(a *attacker, begun func()) {
	a.hold(2000, 2*time.Second, begun, func(worker int, opened func()) {
		v := a.visitor(attackersAddress, a.Cookie)
		defer v.http.CloseIdleConnections()
		switch worker % 4 {
		case 0:
			v.cookie = a.madeUp(rand.New(rand.NewPCG(a.Seed, uint64(worker))))
		case 1:
			v.cookie = ""
			v.touch(http.MethodGet, "/")
		}
		v.stream(longestAttack, "", func(string) bool {
			opened()
			return true
		})
	})
}

// slowBodies begins 1,000 requests whose bodies come a byte a second.
func slowBodies(a *attacker, begun func()) {
	host := strings.TrimPrefix(a.BFF, "http://")
	a.hold(1000, time.Second, begun, func(_ int, opened func()) {
		conn, err := dialer(attackersAddress).DialContext(a.ctx, "tcp", host)
		if err != nil {
			a.count("not connected")
			return
		}
		defer conn.Close()
		a.count("connected")
		_, err = fmt.Fprintf(conn, "POST /link HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nContent-Length: 100000\r\n\r\n", host, a.Cookie)
		opened()
		for buffer := make([]byte, 4096); err == nil && a.ctx.Err() == nil; {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			if _, err = conn.Read(buffer); isTimeout(err) {
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				_, err = conn.Write([]byte("x"))
			}
		}
		a.count("ended")
	})
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// idleTabs are 50 people, each at an address of their own, who have opened the first page and wait. Their browsers
// reconnect as EventSource does (html.spec.whatwg.org/multipage/server-sent-events.html).
func idleTabs(a *attacker, begun func()) {
	const tabs = 50
	a.first = begun
	opened := make([]*visitor, tabs)
	last, pause := make([]string, tabs), make([]time.Duration, tabs)
	a.loop(tabs, time.Millisecond, func(tab int, _ *rand.Rand) {
		v := opened[tab]
		if v == nil {
			v = a.visitor(fmt.Sprintf("127.0.3.%d", tab+1), "")
			opened[tab], pause[tab] = v, 3*time.Second
			v.touch(http.MethodGet, "/")
		}
		stays := v.stream(longestAttack, last[tab], func(line string) bool {
			field, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "id":
				last[tab] = value
			case "retry":
				if ms, err := strconv.Atoi(value); err == nil {
					pause[tab] = time.Duration(ms) * time.Millisecond
				}
			case "event":
				a.count("event " + value)
			}
			return true
		})
		if !stays { // an EventSource gives up where the status is not 200
			a.count("gave up")
			<-a.ctx.Done()
		}
		a.wait(pause[tab])
	})
}
