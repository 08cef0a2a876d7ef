package e2e

import (
	"bufio"
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
	"example.com/verification-status/server/tests/rig"
)

// signer makes a Stripe-Signature header.
type signer func(t *testing.T, body []byte, secret string) string

// TestSignedByOthers: the server accepts bodies signed by other implementations of Stripe's scheme, first of all Stripe's
// own libraries, with any api_version, and with the old and the new secret of a roll. It refuses bodies signed with another
// secret.
func TestSignedByOthers(t *testing.T) {
	t.Parallel()
	const older = "whsec_theOneBeforeTheRoll"
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "STRIPE_WEBHOOK_SECRET="+older+","+rig.WebhookSecret))
	client := rig.NewHTTPClient(t)
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
				secret := []string{older, rig.WebhookSecret}[n%2]
				e := rig.NewEvent(fmt.Sprintf("evt_%s_%d", session, n), "processing", session, second+int64(n), version, rig.Fields{
					"status": "processing", "metadata": rig.Fields{"name": "Zoë  \"<&>\" \u2028 🙂"},
				})
				header := sign(t, e.Body, secret)
				response, text, err := rig.Post(client, p.Webhook, header, e.Body)
				if err != nil || response.StatusCode != http.StatusOK {
					t.Fatalf("api_version %v: %v %q, %v", version, response, text, err)
				}
				ids = append(ids, e.ID)
				changed := []byte(strings.Replace(string(e.Body), `"processing"`, `"verified"`, 1))
				for what, forged := range map[string][]byte{"another body": changed, "a space more": append(e.Body, ' ')} {
					if response, _, err := rig.Post(client, p.Webhook, header, forged); err != nil || response.StatusCode != http.StatusBadRequest {
						t.Errorf("%s under the same signature: %v, %v", what, response, err)
					}
				}
				if response, _, err := rig.Post(client, p.Webhook, sign(t, e.Body, "whsec_another"), e.Body); err != nil || response.StatusCode != http.StatusBadRequest {
					t.Errorf("signed with another secret: %v, %v", response, err)
				}
			}
			got := rig.GetStatus(t, rig.ClientOf(t, p), session)
			rig.CheckHistory(t, got, ids)
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
	rig.NeedProgram(t, "openssl")
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
	rig.InstallNode(t, dir, filepath.Join("testdata", "node"))
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
