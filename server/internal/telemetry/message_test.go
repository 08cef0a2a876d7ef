package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// logged returns the JSON that a logger of this package writes for one attribute "m".
func logged(t *testing.T, v any) string {
	t.Helper()
	var out bytes.Buffer
	newTestLogger(t, &out, "json").Info("x", "m", v)
	var record struct{ M json.RawMessage }
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return string(record.M)
}

func TestMessageHonoursDebugRedact(t *testing.T) {
	response := &verificationv1.RetryVerificationResponse{
		Verification: &verificationv1.Verification{
			SessionId: "vs_1", Status: verificationv1.Status_STATUS_REQUIRES_INPUT, Revision: 3,
			UpdateTime: timestamppb.New(time.Unix(1, 0)), Retry: &verificationv1.RetryState{Allowed: true},
		},
		// Neither has the shape of a secret: only the mark in the contract conceals them.
		ClientSecret: "planted", Url: "planted",
	}
	if !strings.Contains(response.String(), "planted") {
		t.Fatal("protobuf honours debug_redact by itself now: this code is no longer needed")
	}
	want := `{"verification":{"session_id":"vs_1","status":"STATUS_REQUIRES_INPUT","update_time":"1970-01-01T00:00:01Z",` +
		`"revision":3,"retry":{"allowed":true}},"client_secret":"[secret]","url":"[secret]"}`
	for name, v := range map[string]any{"wrapped": Message(response), "bare": response} {
		if got := logged(t, v); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
	// A handler that knows nothing of secrets gets none either.
	if got := Message(response).LogValue().String(); strings.Contains(got, "planted") {
		t.Errorf("got %s", got)
	}
}

func TestMessageKinds(t *testing.T) {
	packed, err := anypb.New(&verificationv1.RetryVerificationResponse{ClientSecret: "planted"})
	if err != nil {
		t.Fatal(err)
	}
	deep := structpb.NewStringValue("end")
	for range 50 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	fields, err := structpb.NewStruct(map[string]any{"b": 1, "a": "sk_test_planted"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		message proto.Message
		want    string
	}{
		{&verificationv1.GetStatusResponse{History: []*verificationv1.HistoryEntry{{Revision: 1}, {EventId: "evt_1"}}},
			`{"history":{"0":{"revision":1},"1":{"event_id":"evt_1"}}}`},
		{&verificationv1.WatchStatusRequest{Heartbeat: durationpb.New(time.Second)}, `{"heartbeat_ms":1000}`},
		{&verificationv1.Verification{Status: 99}, `{"status":99}`},
		{packed, `{"type_url":"type.googleapis.com/verification.v1.RetryVerificationResponse","value":"9 bytes"}`},
		{fields, `{"fields":{"a":{"string_value":"[secret]"},"b":{"number_value":1}}}`},
	} {
		if got := logged(t, test.message); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	if got := logged(t, deep); len(got) > 500 || !strings.Contains(got, `"..."`) {
		t.Errorf("a deep message is logged whole: %d bytes", len(got))
	}
	long := &verificationv1.GetStatusResponse{}
	for range 100 {
		long.History = append(long.History, &verificationv1.HistoryEntry{Revision: 1})
	}
	if got := logged(t, long); !strings.Contains(got, `"more":68`) {
		t.Errorf("a long list is logged whole: %s", got)
	}
	if got := Message(nil).LogValue().Any(); got != nil {
		t.Errorf("nil became %v", got)
	}
}
