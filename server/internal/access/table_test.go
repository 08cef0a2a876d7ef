package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/reload"
)

func plain() credentials.TransportCredentials { return insecure.NewCredentials() }

// call is one way to use the server.
type call struct {
	name string
	make func(ctx context.Context, conn *grpc.ClientConn) error
}

const (
	service     = "/verification.v1.VerificationService/"
	feedService = "/verification.v1.FeedService/"
)

var watchOne = &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: "vs_1"}}

var watchAll = &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}}

func unary(method string) func(context.Context, *grpc.ClientConn) error {
	return invoke(service + method)
}

func invoke(path string) func(context.Context, *grpc.ClientConn) error {
	return func(ctx context.Context, conn *grpc.ClientConn) error {
		return conn.Invoke(ctx, path, &emptypb.Empty{}, &emptypb.Empty{})
	}
}

func watch(request *verificationv1.WatchStatusRequest) func(context.Context, *grpc.ClientConn) error {
	return func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := verificationv1.NewVerificationServiceClient(conn).WatchStatus(ctx, request)
		if err != nil {
			return err
		}
		for {
			if _, err := stream.Recv(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

// everyCall has every method, once for each right that it can need.
var everyCall = []call{
	{"get", unary("GetStatus")},
	{"retry", unary("RetryVerification")},
	{"list", unary("ListVerifications")},
	{"watch", watch(watchOne)},
	{"watch by reference", watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: "a"}})},
	{"watch nothing", watch(&verificationv1.WatchStatusRequest{})},
	{"watch all", watch(watchAll)},
	{"acknowledge", invoke(feedService + "AcknowledgeChanges")},
	{"list consumers", invoke(feedService + "ListConsumers")},
	{"delete a consumer", invoke(feedService + "DeleteConsumer")},
	{"health", func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		return err
	}},
	{"watch health", func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}},
	{"reflection", func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		_, err = stream.Recv()
		return err
	}},
	{"old reflection", func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := grpc_reflection_v1alpha.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(&grpc_reflection_v1alpha.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1alpha.ServerReflectionRequest_ListServices{}})
		_, err = stream.Recv()
		return err
	}},
}

var (
	healthOnly = []string{"health", "watch health"}
	consuming  = []string{"watch all", "acknowledge", "delete a consumer"}
	reading    = []string{"get", "watch", "watch by reference", "watch nothing", "reflection", "old reflection"}
)

// TestEveryMethodForEveryIdentity over real TLS: an allowed call is answered, and every other call ends with one code before a
// handler gets it.
func TestEveryMethodForEveryIdentity(t *testing.T) {
	b := newBench(t, nil)
	otherCA := newAuthority(t, "otherCA")
	bff := b.clients.client(spiffe(t, "spiffe://example.org/bff"))
	all := slices.Concat(reading, consuming, []string{"retry", "list", "list consumers"}, healthOnly)
	reader, noReader := b.token("web", RightRead), b.token("nightly", RightList, RightWatchAll)
	retrier, everything := b.token("desk", RightRetry), b.token("ops", RightRead, RightWatchAll, RightList, RightRetry)
	unknown, _, err := NewToken("web", []Right{RightRead})
	if err != nil {
		t.Fatal(err)
	}
	oldTLS := b.as(bff)
	oldTLS.tls.MaxVersion = tls.VersionTLS12
	// An ordinary client does not send a certificate that the server did not ask for.
	polite := b.as(nil)
	polite.tls.Certificates = []tls.Certificate{*otherCA.client(spiffe(t, "spiffe://example.org/bff"))}

	for _, c := range []struct {
		name      string
		who       identity
		principal string
		may       []string // answered
		otherwise codes.Code
	}{
		{"no credentials", b.as(nil), "", healthOnly, codes.Unauthenticated},
		{"plain text", identity{}, "", nil, codes.Unavailable},
		{"TLS 1.2", oldTLS, "", nil, codes.Unavailable},
		{"wrong CA", b.as(otherCA.client(spiffe(t, "spiffe://example.org/bff"))), "", nil, codes.Unavailable},
		{"wrong CA, not shown", polite, "", healthOnly, codes.Unauthenticated},
		{"expired", b.as(b.clients.client(expired(spiffe(t, "spiffe://example.org/bff")))), "", nil, codes.Unavailable},
		{"the server's CA", b.as(b.servers.client(spiffe(t, "spiffe://example.org/bff"))), "", nil, codes.Unavailable},
		{"no name but the subject", b.as(b.clients.client(dns())), "", healthOnly, codes.Unauthenticated},
		{"two SPIFFE ids", b.as(b.clients.client(spiffe(t, "spiffe://example.org/bff", "spiffe://example.org/admin/a"))), "", healthOnly, codes.Unauthenticated},
		{"another URI", b.as(b.clients.client(spiffe(t, "https://example.org/bff"))), "", healthOnly, codes.Unauthenticated},
		{"another URI beside a right DNS name", b.as(b.clients.client(func(c *x509.Certificate) {
			spiffe(t, "https://example.org/bff")(c)
			dns("reporting.internal")(c)
		})), "", healthOnly, codes.Unauthenticated},
		{"a name too long", b.as(b.clients.client(spiffe(t, "spiffe://example.org/admin/"+strings.Repeat("a", 300)))), "", healthOnly, codes.Unauthenticated},
		{"a certificate named like a token", b.as(b.clients.client(dns("token:ops"))), "", healthOnly, codes.Unauthenticated},
		{"right SAN without a right", b.as(b.clients.client(spiffe(t, "spiffe://example.org/nobody"))), "", healthOnly, codes.PermissionDenied},
		{"right SAN that may read and retry", b.as(bff), "spiffe://example.org/bff",
			append(append(slices.Clone(reading), "retry"), healthOnly...), codes.PermissionDenied},
		{"right DNS name that may watch all and list", b.as(b.clients.client(dns("reporting.internal"))), "reporting.internal",
			append([]string{"list", "watch all"}, healthOnly...), codes.PermissionDenied},
		{"right SAN by a pattern", b.as(b.clients.client(spiffe(t, "spiffe://example.org/admin/ann"))), "spiffe://example.org/admin/ann", all, codes.PermissionDenied},
		{"right SAN by a pattern, with a deny rule", b.as(b.clients.client(spiffe(t, "spiffe://example.org/admin/intern"))), "spiffe://example.org/admin/intern",
			slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "retry" }), codes.PermissionDenied},
		{"a DNS name beside the SPIFFE id does not count", b.as(b.clients.client(func(c *x509.Certificate) {
			spiffe(t, "spiffe://example.org/nobody")(c)
			dns("reporting.internal")(c)
		})), "", healthOnly, codes.PermissionDenied},
		{"the right DNS name is the first of two", b.as(b.clients.client(dns("reporting.internal", "nobody.internal"))), "reporting.internal",
			append([]string{"list", "watch all"}, healthOnly...), codes.PermissionDenied},
		{"the right DNS name is the second of two", b.as(b.clients.client(dns("nobody.internal", "reporting.internal"))), "", healthOnly, codes.PermissionDenied},
		{"bad token", b.as(nil, "Bearer "+unknown), "", healthOnly, codes.Unauthenticated},
		{"no token", b.as(nil, "Bearer "), "", healthOnly, codes.Unauthenticated},
		{"another scheme", b.as(nil, "Basic "+reader), "", healthOnly, codes.Unauthenticated},
		{"the hash for the token", b.as(nil, "Bearer "+hashOf(reader)), "", healthOnly, codes.Unauthenticated},
		{"two good tokens", b.as(nil, "Bearer "+reader, "Bearer "+everything), "", healthOnly, codes.Unauthenticated},
		{"bad token, right SAN", b.as(bff, "Bearer "+unknown), "", healthOnly, codes.Unauthenticated},
		{"good token, wrong CA", b.as(otherCA.client(dns("a")), "Bearer "+everything), "", nil, codes.Unavailable},
		{"good token that may read", b.as(nil, "Bearer "+reader), "token:web", append(slices.Clone(reading), healthOnly...), codes.PermissionDenied},
		{"good token, lower case", b.as(nil, "bearer "+reader), "token:web", append(slices.Clone(reading), healthOnly...), codes.PermissionDenied},
		{"good token that may not read", b.as(nil, "Bearer "+noReader), "token:nightly", slices.Concat(consuming, []string{"list", "list consumers"}, healthOnly), codes.PermissionDenied},
		{"good token that may retry", b.as(nil, "Bearer "+retrier), "token:desk", append([]string{"retry"}, healthOnly...), codes.PermissionDenied},
		{"good token that may do all", b.as(nil, "Bearer "+everything), "token:ops", all, codes.PermissionDenied},
		{"the token decides, not the SAN beside it", b.as(bff, "Bearer "+retrier), "token:desk", append([]string{"retry"}, healthOnly...), codes.PermissionDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := b.dial(c.who)
			for _, call := range everyCall {
				before := b.reached.Load()
				ctx, cancel := context.WithCancel(patient(t))
				for _, value := range c.who.token {
					ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
				}
				err := call.make(ctx, conn)
				cancel()
				want := c.otherwise
				if slices.Contains(c.may, call.name) {
					want = codes.OK
				}
				if status.Code(err) != want {
					t.Errorf("%s: got %v, want %v", call.name, err, want)
				}
				checkReason(t, call.name, err)
				handled := b.reached.Load() != before
				if own := !slices.Contains(healthOnly, call.name) && !strings.Contains(call.name, "reflection"); own && handled != (want == codes.OK) {
					t.Errorf("%s: its handler ran: %v", call.name, handled)
				}
				if handled && b.principal.Load() != c.principal {
					t.Errorf("%s: came from %q, want %q", call.name, b.principal.Load(), c.principal)
				}
			}
		})
	}
	for _, principal := range []string{"principal=spiffe://example.org/bff", "principal=token:ops", "principal=reporting.internal", "principal=spiffe://example.org/nobody"} {
		if !strings.Contains(b.log.String(), principal) {
			t.Errorf("no line has %s", principal)
		}
	}
	for _, secret := range []string{reader, noReader, retrier, everything, unknown} {
		if strings.Contains(b.log.String(), secret) || strings.Contains(b.log.String(), hashOf(secret)) {
			t.Error("a token is in the log")
		}
	}
	for _, reason := range []verificationv1.ErrorReason{verificationv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED} {
		if _, counted := b.observed.Load(reason); !counted {
			t.Errorf("%s was not counted", reason)
		}
	}
}

// checkReason checks the reason of a refusal.
func checkReason(t *testing.T, name string, err error) {
	t.Helper()
	got := status.Convert(err)
	want, known := map[codes.Code]string{
		codes.Unauthenticated:  "ERROR_REASON_UNAUTHENTICATED",
		codes.PermissionDenied: "ERROR_REASON_PERMISSION_DENIED",
	}[got.Code()]
	if !known {
		return
	}
	if len(got.Details()) != 1 {
		t.Fatalf("%s: details %v", name, got.Details())
	}
	info, ok := got.Details()[0].(*errdetails.ErrorInfo)
	if !ok || info.GetDomain() != "verification.v1" || info.GetReason() != want {
		t.Errorf("%s: %v", name, got.Details())
	}
}

// TestAStreamWithoutARequestNeedsARightToo: otherwise it would count as open until its request arrives.
func TestAStreamWithoutARequestNeedsARightToo(t *testing.T) {
	b := newBench(t, nil)
	for _, c := range []struct {
		who  identity
		want codes.Code
	}{
		{b.as(nil), codes.Unauthenticated},
		{b.as(b.clients.client(spiffe(t, "spiffe://example.org/nobody"))), codes.PermissionDenied},
	} {
		stream, err := b.dial(c.who).NewStream(patient(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, pathWatch)
		if err == nil {
			err = stream.RecvMsg(&emptypb.Empty{})
		}
		if status.Code(err) != c.want {
			t.Errorf("got %v, want %v", err, c.want)
		}
		checkReason(t, "a stream without a request", err)
	}
}

// TestACertificateOfAnUnknownAuthorityIsNotAccepted: an unverified certificate identifies no caller, even if TLS accepted it.
func TestACertificateOfAnUnknownAuthorityIsNotAccepted(t *testing.T) {
	certificate := newAuthority(t, "a").certificate
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
	of := func(state tls.ConnectionState) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
	}
	if verified(of(state)) != nil || verified(t.Context()) != nil {
		t.Error("it is taken for verified")
	}
	state.VerifiedChains = [][]*x509.Certificate{{certificate}}
	if verified(of(state)) != certificate {
		t.Error("a verified one is not")
	}
}

// TestEveryMethodOfTheContractHasARight: a new method of the contract needs a decision.
func TestEveryMethodOfTheContractHasARight(t *testing.T) {
	var all []string
	for _, desc := range []grpc.ServiceDesc{
		verificationv1.VerificationService_ServiceDesc, verificationv1.FeedService_ServiceDesc, verificationv1.OperatorService_ServiceDesc,
		verificationv1.ComparisonService_ServiceDesc,
	} {
		for _, method := range desc.Methods {
			all = append(all, "/"+desc.ServiceName+"/"+method.MethodName)
		}
		for _, stream := range desc.Streams {
			all = append(all, "/"+desc.ServiceName+"/"+stream.StreamName)
		}
	}
	everything := Token{Rights: slices.Collect(maps.Keys(pathsOfRight))}
	for _, method := range all {
		for _, path := range pathsOf(method) {
			if !everything.allows(path) {
				t.Errorf("no right opens %s", path)
			}
		}
	}
	if len(all) < 9 || everything.allows(service+"Erase") {
		t.Errorf("methods %v", all)
	}
}

// TestOnlyTheRightOverrideOverrides: the other rights do not, and it allows neither to read nor to consume.
func TestOnlyTheRightOverrideOverrides(t *testing.T) {
	b := newBench(t, nil)
	for right, paths := range pathsOfRight {
		token := b.token(string(right), right)
		ctx := b.Identify(metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token)))
		if got, want := b.MayOverride(ctx), right == RightOverride; got != want {
			t.Errorf("%s: MayOverride is %v, want %v", right, got, want)
		}
		for other, others := range pathsOfRight {
			for _, path := range others {
				if got, want := b.Unary(ctx, path, nil) == nil, other == right; got != want {
					t.Errorf("%s, whose paths are %v, allows %s: %v, want %v", right, paths, path, got, want)
				}
			}
		}
	}
	if b.MayOverride(t.Context()) {
		t.Error("an unidentified caller may override")
	}
}

// TestWithoutAccessControlEveryCallerMayOverride, because no caller has a name.
func TestWithoutAccessControlEveryCallerMayOverride(t *testing.T) {
	open, err := Open(Config{MaxStreams: 1}, reload.New(reload.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	if !open.MayOverride(t.Context()) {
		t.Error("MayOverride is false")
	}
}

// TestNamesOfOperatorsAreForCallersThatListOrOverride, by the rights of now: a stream that was open before a change of the tokens
// goes by the new ones.
func TestNamesOfOperatorsAreForCallersThatListOrOverride(t *testing.T) {
	b := newBench(t, nil)
	for right := range pathsOfRight {
		token := b.token(string(right), right)
		ctx := b.Identify(metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token)))
		if got, want := b.MayNameOperators(ctx), right == RightList || right == RightOverride; got != want {
			t.Errorf("%s: %v, want %v", right, got, want)
		}
		b.write("tokens", "# nobody any more\n")
		b.reload()
		if b.MayNameOperators(ctx) {
			t.Errorf("%s: still, although the token is gone", right)
		}
	}
	if b.MayNameOperators(t.Context()) {
		t.Error("an unidentified caller sees names")
	}
	open, err := Open(Config{MaxStreams: 1}, reload.New(reload.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	if !open.MayNameOperators(t.Context()) {
		t.Error("without access control nobody sees names")
	}
}
