package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// FuzzSignature: a header is accepted only if it has the HMAC of the body and the header's time under one of the secrets, and if that
// time is near. Otherwise there is a reason from the fixed set.
func FuzzSignature(f *testing.F) {
	const old, current = verification.Secret("whsec_old"), verification.Secret("whsec_new")
	now := time.Unix(1_790_000_300, 0)
	body := []byte(`{"id":"evt_1"}`)
	right := func(at int64, secret verification.Secret) string {
		mac := hmac.New(sha256.New, []byte(secret.Reveal()))
		fmt.Fprintf(mac, "%d.%s", at, body)
		return hex.EncodeToString(mac.Sum(nil))
	}
	for _, header := range []string{
		"", "t=", "v1=", "t=1790000300", "t=1790000300,v1=zz", "t=1,t=1790000300,v1=00", ",,,", "t=1790000300,v0=00,v1=",
		"t=1790000300,v1=" + right(now.Unix(), current),
		"t=1790000300,v1=00,v1=" + strings.ToUpper(right(now.Unix(), old)),
		"t=1789999999,v1=" + right(1_789_999_999, current),
		"t=+1790000300,v1=" + right(now.Unix(), current),
		"t=1790000300," + strings.Repeat("v1=00,", 63) + "v1=" + right(now.Unix(), old),
		"t=1790000300" + strings.Repeat(",v1=00", 700),
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		values := http.Header{"Stripe-Signature": {header}}
		position, reason := checkSignature(values, body, []verification.Secret{old, current}, now, 5*time.Minute)
		switch reason {
		case ReasonNotSigned, ReasonMalformedSignature, ReasonTooOld, ReasonInFuture, ReasonWrongSignature:
			return
		case "":
		default:
			t.Fatalf("reason %q", reason)
		}
		_, at, parsed := parseSignature(values)
		if parsed != "" || at < now.Unix()-300 || at > now.Unix()+300 || len(header) > maxSignatureHeader {
			t.Fatalf("accepted: %q with time %d, %q", header, at, parsed)
		}
		signer := map[int]verification.Secret{1: old, 2: current}[position]
		if signer == "" || !strings.Contains(strings.ToLower(header), "v1="+right(at, signer)) {
			t.Fatalf("accepted without a right signature of secret %d: %q", position, header)
		}
	})
}
