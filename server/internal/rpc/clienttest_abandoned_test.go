package rpc

import (
	"fmt"
	"testing"

	"example.com/verification-status/server/internal/verification"
)

// An abandoned submission after a failure that has no grant is judged by that failure.
func TestClienttestJudgesTheAbandonedAsTheServerDoes(t *testing.T) {
	t.Parallel()
	fails := func(n int, code string) verification.Object {
		return object("vs_1", "requires_input", failure(code, n))
	}
	left := object("vs_1", "requires_input", problem("abandoned", "Left."))
	for name, life := range map[string][]any{
		"after a failure":                  {fails(1, "document_expired"), left, "retry", "retry"},
		"after what cannot succeed":        {fails(1, "under_supported_age"), left, "retry"},
		"at the limit":                     {fails(1, "document_expired"), "retry", fails(2, "document_expired"), "retry", fails(3, "document_expired"), left, "retry"},
		"never submitted after a failure":  {fails(1, "document_expired"), object("vs_1", "requires_input"), "retry", "retry"},
		"after a failure with its grant":   {fails(1, "document_expired"), "retry", left, "retry"},
		"the failure of before once again": {fails(1, "document_expired"), left, "retry", fails(1, "document_expired"), "retry"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			for step, what := range life {
				if o, ok := what.(verification.Object); ok {
					p.set(o)
				} else {
					p.same(fmt.Sprintf("step %d: retry", step), p.retry(retryRequest("vs_1")))
				}
				p.everything("vs_1")
			}
			p.lists("at the end")
		})
	}
}
