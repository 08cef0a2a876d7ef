package stripeapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStripesBytesAreDecodedStrictly: json.Unmarshal takes names in another case and the last of two. What Stripe sends is decoded by
// stripeevent.Unmarshal.
func TestStripesBytesAreDecodedStrictly(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(code), "json.Unmarshal(") {
			t.Errorf("%s calls json.Unmarshal", file)
		}
	}
}
