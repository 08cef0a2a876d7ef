package fair

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// person is a visitor of the BFF with a cookie jar and an address of their own.
type person struct {
	http    *http.Client
	bff     string
	session string // that the last link is of
}

// newPerson returns a person at an address of this machine.
func newPerson(bff, address string) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // for options only
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &person{bff: bff, http: &http.Client{Jar: jar, Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64}}}
}

// wantStatus returns an error if an answer has another status.
func wantStatus(response *http.Response, want int) error {
	if response.StatusCode != want {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

// do sends a request of a person, and returns the answer's body.
func (a *person) do(ctx context.Context, method, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.bff+path, nil)
	if err != nil {
		return "", err
	}
	response, err := a.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return string(body), errors.Join(err, wantStatus(response, http.StatusOK))
}

// signUp opens the page and presses the button.
func (a *person) signUp(ctx context.Context) error {
	if _, err := a.do(ctx, http.MethodGet, "/"); err != nil {
		return fmt.Errorf("the page: %w", err)
	}
	return a.press(ctx)
}

// press presses the button.
func (a *person) press(ctx context.Context) error {
	body, err := a.do(ctx, http.MethodPost, "/link")
	if err != nil {
		return fmt.Errorf("the button: %w: %s", err, body)
	}
	var answer struct{ URL string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.URL == "" {
		return fmt.Errorf("the button answers %q", body)
	}
	link := answer.URL[strings.LastIndex(answer.URL, "/")+1:]
	id, _, _ := strings.Cut(link, "_") // a link of the simulated Stripe begins so
	a.session = "vs_" + id
	return nil
}

// cookie returns the person's cookie, as a request has it.
func (a *person) cookie() string {
	home, err := url.Parse(a.bff)
	if err != nil {
		panic(err) // the rig made it
	}
	for _, cookie := range a.http.Jar.Cookies(home) {
		return cookie.Name + "=" + cookie.Value
	}
	return ""
}

// seesStatus opens the page's stream, and waits for the first status.
func (a *person) seesStatus(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.bff+"/events", nil)
	if err != nil {
		return err
	}
	response, err := a.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := wantStatus(response, http.StatusOK); err != nil {
		return err
	}
	lines := bufio.NewScanner(response.Body)
	var seen []string
	for lines.Scan() {
		if lines.Text() == "event: status" || lines.Text() == "event:status" {
			return nil
		}
		if strings.HasPrefix(lines.Text(), "event") {
			seen = append(seen, lines.Text())
		}
	}
	return errors.Join(fmt.Errorf("the stream ended without a status, after %q", seen), lines.Err())
}
