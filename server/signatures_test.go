package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	stripewebhook "github.com/stripe/stripe-go/v76/webhook"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
)

// signer makes a Stripe-Signature header.
type signer func(t *testing.T, body []byte, secret string) string

// TestSignedByOthers: what others sign by Stripe's scheme, first of all Stripe's own libraries, is
// taken, with any api_version and with the old and the new secret of a roll; and what they sign for
// somebody else is not.
func TestSignedByOthers(t *testing.T) {
	t.Parallel()
	const older = "whsec_theOneBeforeTheRoll"
	redis := redistest.Start(t)
	p := serve(t, settings(redis.Addr, "STRIPE_WEBHOOK_SECRET="+older+","+webhookSecret))
	client := newHTTPClient(t)
	for _, c := range []struct {
		name string
		sign func(t *testing.T) signer
	}{
		{"Stripe for Node", signWithNode},
		{"OpenSSL", signWithOpenSSL},
		{"Stripe for Go", signWithGo},
	} {
		t.Run(c.name, func(t *testing.T) {
			sign := c.sign(t)
			var ids []string
			session := "vs_" + strings.ReplaceAll(c.name, " ", "")
			second := time.Now().Unix() - 1000
			for n, version := range versions {
				secret := []string{older, webhookSecret}[n%2]
				e := newEvent(fmt.Sprintf("evt_%s_%d", session, n), "processing", session, second+int64(n), version, fields{
					"status": "processing", "metadata": fields{"name": "Zoë  \"<&>\" \u2028 🙂"},
				})
				header := sign(t, e.body, secret)
				response, text, err := post(client, p.webhook, header, e.body)
				if err != nil || response.StatusCode != http.StatusOK {
					t.Fatalf("api_version %v: %v %q, %v", version, response, text, err)
				}
				ids = append(ids, e.id)
				changed := []byte(strings.Replace(string(e.body), `"processing"`, `"verified"`, 1))
				for what, forged := range map[string][]byte{"another body": changed, "a space more": append(e.body, ' ')} {
					if response, _, err := post(client, p.webhook, header, forged); err != nil || response.StatusCode != http.StatusBadRequest {
						t.Errorf("%s under the same signature: %v, %v", what, response, err)
					}
				}
				if response, _, err := post(client, p.webhook, sign(t, e.body, "whsec_another"), e.body); err != nil || response.StatusCode != http.StatusBadRequest {
					t.Errorf("signed with another secret: %v, %v", response, err)
				}
			}
			got := getStatus(t, dialed(t, p), session)
			checkHistory(t, got, ids)
			if got.GetVerification().GetStatus() != verificationv1.Status_STATUS_PROCESSING {
				t.Errorf("status %v", got.GetVerification())
			}
		})
	}
}

// signWithGo is stripe-go's generator for tests.
func signWithGo(*testing.T) signer {
	return func(_ *testing.T, body []byte, secret string) string {
		return stripewebhook.GenerateTestSignedPayload(&stripewebhook.UnsignedPayload{Payload: body, Secret: secret}).Header
	}
}

// signWithOpenSSL is the scheme as a shell script would do it.
func signWithOpenSSL(t *testing.T) signer {
	need(t, "openssl")
	return func(t *testing.T, body []byte, secret string) string {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		cmd := exec.CommandContext(t.Context(), "openssl", "dgst", "-sha256", "-hmac", secret, "-r")
		cmd.Stdin = strings.NewReader(at + "." + string(body))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		mac, _, _ := strings.Cut(string(out), " ")
		return "t=" + at + ",v1=" + mac
	}
}

// signWithNode runs Stripe's library for Node, at the version of testdata/node's lock file.
func signWithNode(t *testing.T) signer {
	dir := t.TempDir()
	installNode(t, dir, filepath.Join("testdata", "node"))
	cmd := exec.CommandContext(t.Context(), "node", "sign.mjs")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines, requests := bufio.NewScanner(out), json.NewEncoder(in)
	return func(t *testing.T, body []byte, secret string) string {
		if err := requests.Encode(map[string]string{"payload": string(body), "secret": secret}); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("node has ended: %v", lines.Err())
		}
		return lines.Text()
	}
}

// installNode copies a Node program into a directory and installs what its lock file names.
func installNode(t testing.TB, dir, from string) {
	t.Helper()
	need(t, "node")
	need(t, "npm")
	for _, kind := range []string{"*.json", "*.mjs"} { // a checkout may have node_modules of its own
		files, err := filepath.Glob(filepath.Join(from, kind))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no %s: %v", from, kind, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	install.Env = append(os.Environ(), "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1")
	if out, err := install.CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("npm cannot install what %s needs: %v\n%s", from, err, out))
	}
}

// need is for a program that another machine may lack.
func need(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		missing(t, program+" is not installed")
	}
}

// missing skips the test, but never where it must run.
func missing(t testing.TB, text string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	if _, measures := t.(*testing.B); measures { // a benchmark says why it is skipped with -v only
		fmt.Fprintf(os.Stderr, "%s is skipped: %s\n", t.Name(), text)
	}
	t.Skip(text)
}
