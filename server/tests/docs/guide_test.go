package docs

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// guideRunner has the commands of dev's guide, and does what grpcurl and curl would do with them.
type guideRunner struct {
	t        *testing.T
	commands []string
	http     *http.Client
	conn     *grpc.ClientConn
}

func newGuideRunner(t *testing.T, guide string) *guideRunner {
	t.Helper()
	g := &guideRunner{t: t, http: rig.NewHTTPClient(t)}
	for line := range strings.Lines(guide) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "grpcurl ") || strings.HasPrefix(line, "curl ") {
			g.commands = append(g.commands, line)
		}
	}
	return g
}

// command finds the one command with these words, and splits it as a shell does.
func (g *guideRunner) command(words ...string) (args []string) {
	g.t.Helper()
	for _, line := range g.commands {
		found := true
		for _, word := range words {
			found = found && strings.Contains(line, word)
		}
		if found {
			for _, quoted := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1) {
				args = append(args, strings.Trim(quoted, "'"))
			}
			return args
		}
	}
	g.t.Fatalf("the guide has no command with %q; it has:\n%s", words, strings.Join(g.commands, "\n"))
	return nil
}

// grpcurl reads "grpcurl -plaintext -d JSON ADDR SERVICE/METHOD" into a request.
func (g *guideRunner) grpcurl(method string, request proto.Message) verificationv1.VerificationServiceClient {
	g.t.Helper()
	args := g.command("grpcurl", "/"+method)
	if len(args) != 6 || args[1] != "-plaintext" || args[2] != "-d" || args[5] != "verification.v1.VerificationService/"+method {
		g.t.Fatalf("not to be understood: %q", args)
	}
	if err := protojson.Unmarshal([]byte(args[3]), request); err != nil {
		g.t.Fatal(err)
	}
	client, conn := rig.Dial(g.t, args[4])
	g.conn = conn
	return client
}

// curl reads "curl [-u USER:] [-d FIELD]... URL" and posts it. It submits an outcome in a later second than what came before, as a person
// does: events of one second are read at Stripe, and on a slow machine one read shows two steps, which then are one revision.
func (g *guideRunner) curl(args []string) string {
	g.t.Helper()
	form, user, target := url.Values{}, "", ""
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "-d":
			i++
			name, value, _ := strings.Cut(args[i], "=")
			form.Add(name, value)
		case "-u":
			i++
			user = strings.TrimSuffix(args[i], ":")
		default:
			target = args[i]
		}
	}
	if form.Has("outcome") {
		begun := time.Now().Unix()
		rig.Await(g.t, "the next second", func() bool { return time.Now().Unix() > begun })
	}
	request, err := http.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		g.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user != "" {
		request.SetBasicAuth(user, "")
	}
	response, err := g.http.Do(request)
	if err != nil {
		g.t.Fatal(err)
	}
	text, err := rig.ReadAll(response)
	if err != nil || response.StatusCode >= 400 {
		g.t.Fatalf("%q: %s %s, %v", args, response.Status, text, err)
	}
	return text
}

// checkHistory asks for the history as the guide says: it has all events, and the grant.
func (g *guideRunner) checkHistory() {
	g.t.Helper()
	var ask verificationv1.GetStatusRequest
	response, err := g.grpcurl("GetStatus", &ask).GetStatus(rig.Within(g.t, rig.Soon), &ask)
	if err != nil {
		g.t.Fatal(err)
	}
	rig.CheckRevisions(g.t, response)
	kinds := map[string]int{}
	for _, entry := range response.GetHistory() {
		if entry.GetSource() == verificationv1.Source_SOURCE_WEBHOOK && !strings.HasPrefix(entry.GetEventId(), "evt_") {
			g.t.Errorf("an entry without an event id: %v", entry)
		}
		kinds[strings.TrimPrefix(entry.GetEventType(), "identity.verification_session.")]++
	}
	if kinds["created"] != 1 || kinds["processing"] != 2 || kinds["requires_input"] != 1 || kinds["verified"] != 1 || kinds[""] < 1 {
		g.t.Errorf("the history has %v", kinds)
	}
}

// checkAnother makes another session with the same reference: it is the newest from then on.
func (g *guideRunner) checkAnother() {
	g.t.Helper()
	var made struct {
		ID        string `json:"id"`
		Reference string `json:"client_reference_id"`
	}
	if err := json.Unmarshal([]byte(g.curl(g.command("curl", "-u"))), &made); err != nil {
		g.t.Fatal(err)
	}
	client := verificationv1.NewVerificationServiceClient(g.conn)
	rig.Await(g.t, "the new session", func() bool {
		response, err := client.GetStatus(rig.Within(g.t, rig.Soon), &verificationv1.GetStatusRequest{
			Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: made.Reference},
		})
		return err == nil && response.GetVerification().GetSessionId() == made.ID
	})
}

// checkReflection checks what grpcurl needs to work without the contract.
func checkReflection(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(rig.Within(t, rig.Soon))
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "verification.v1.VerificationService"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if response, err := stream.Recv(); err != nil || len(response.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("reflection: %v, %v", response, err)
	}
	_ = stream.CloseSend()
}
